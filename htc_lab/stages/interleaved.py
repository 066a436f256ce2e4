r"""Interleaved execution: the mask branch works on the boxes this stage has just refined (eq. 2).

.. math::
    x^{box}_t &= P(x, r_{t-1}), & r_t &= B_t(x^{box}_t) \\
    x^{mask}_t &= P(x, r_t),    & m_t &= M_t(x^{mask}_t)

Compared with eq. 1, one index changes: r_t instead of r_{t-1}. At test time masks are predicted on the final
boxes anyway, so a mask head trained on the boxes *before* refinement meets better boxes than it knows.
Interleaved, it is trained on the kind of boxes it will be tested on. So this is an idea about training; at
test time the switch only changes which boxes the per-stage view shows.
"""

from htc_lab.layers.cascade_config import CascadeConfig, StageConfig
from htc_lab.layers.matching import Draws
from htc_lab.layers.sampling import StageSamples, sample_rois
from htc_lab.structures import RoIs, Targets


def mask_rois(received: RoIs, refined: RoIs, interleaved: bool) -> RoIs:
    """The boxes on which stage t predicts its masks: r_t (eq. 2) or, without the idea, r_{t-1} (eq. 1)."""
    return refined if interleaved else received


def refined_samples(samples: StageSamples, refined: RoIs) -> RoIs:
    """The sampled RoIs after refinement, without those that were ground truth to begin with.

    A box that started exactly on its object would teach the next head that boxes are always perfect.
    """
    return refined.select(samples.places(~samples.from_truth))


def samples_for_masks(
    samples: StageSamples,
    refined: RoIs,
    targets: list[Targets],
    stage: StageConfig,
    config: CascadeConfig,
    classes: int,
    interleaved: bool,
    generator: Draws = None,
) -> StageSamples:
    """The positives stage t's mask head is trained on.

    Args:
        samples: the samples the box head of this stage was trained on (from r_{t-1}).
        refined: r_t without ground-truth boxes, from :func:`refined_samples`.
        targets, stage, config, classes, generator: as for :func:`~htc_lab.layers.sampling.sample_rois`.
        interleaved: eq. 2: the refined boxes are matched again at the same threshold, since moving may have
            turned a background box into a positive, and sampled again. If False, the box head's own
            positives are used.
    """
    if interleaved:
        samples = sample_rois(refined, targets, stage, config, classes, generator)
    return samples.select(samples.positive)
