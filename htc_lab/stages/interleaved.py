r"""Interleaved execution: the mask branch works on the boxes this stage has just refined (eq. 2).

.. math::
    x^{box}_t &= P(x, r_{t-1}), & r_t &= B_t(x^{box}_t) \\
    x^{mask}_t &= P(x, r_t),    & m_t &= M_t(x^{mask}_t)

One index changes against eq. 1: r_t where r_{t-1} stood. At test time masks are taken on final boxes
anyway; a mask head that was trained on the boxes *before* refinement therefore meets better boxes than it
knows. Interleaved, it is trained on the kind of box it will be asked about. So this is an idea about
training, and at test time the switch changes only which boxes the per-stage view shows.
"""

from htc_lab.layers.cascade_config import CascadeConfig, StageConfig
from htc_lab.layers.matching import Draws
from htc_lab.layers.sampling import StageSamples, sample_rois
from htc_lab.structures import RoIs, Targets


def mask_rois(received: RoIs, refined: RoIs, interleaved: bool) -> RoIs:
    """The boxes stage t's masks are taken on: r_t (eq. 2) or, without the idea, r_{t-1} (eq. 1)."""
    return refined if interleaved else received


def refined_samples(samples: StageSamples, refined: RoIs) -> RoIs:
    """The sampled RoIs at their refined places, without those that were ground truth to begin with.

    A box that started on its object's exact place would teach the following head that boxes come perfect.
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
        samples: what the box head of this stage was trained on (from r_{t-1}).
        refined: r_t without ground-truth boxes, from :func:`refined_samples`.
        targets, stage, config, classes, generator: as for :func:`~htc_lab.layers.sampling.sample_rois`.
        interleaved: eq. 2. The refined boxes are matched anew at the same threshold, since a box that was
            background may have become a positive by its move, and sampled anew. Off: the box head's own
            positives serve.
    """
    if interleaved:
        samples = sample_rois(refined, targets, stage, config, classes, generator)
    return samples.select(samples.positive)
