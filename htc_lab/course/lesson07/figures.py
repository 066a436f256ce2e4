"""The batch at which a training stopped, as pictures."""

from pathlib import Path

from htc_lab.plots.drawing import draw_truth
from htc_lab.plots.figure import Picture, bare, new_figure
from htc_lab.train.stopped_batch import read_batch
from htc_lab.wording import counted


def show_batch(path: Path | str) -> Picture:
    """The images of a ``stopped_at_step_N.safetensors`` with boxes and masks, as the network received them.

    Raises:
        InputError: no such file, or a different kind of file.
    """
    batch = read_batch(path)
    wrong = [name for name, value in batch.losses.items() if value is None]
    figure = new_figure(6.0 * len(batch.samples), 6.6)
    grid = figure.subplots(1, len(batch.samples), squeeze=False)[0]
    for axes, sample in zip(grid, batch.samples, strict=True):
        labels = int(sample.targets.labels.max()) + 1 if len(sample.targets.labels) else 0
        # Where colours are changed in training, values may lie outside.
        image = sample.image.clamp(0, 255).byte()
        drawn = draw_truth(image, sample.targets, [f"class {k}" for k in range(labels)])
        height, width = sample.image.shape[1:]
        bare(
            axes,
            drawn,
            f"image {sample.image_id}",
            f"{width}x{height} px, {counted(len(sample.targets.boxes), 'object')}",
        )
    figure.suptitle(f"Step {batch.step}: no number in {', '.join(wrong) or 'the weights'}", fontsize=13)
    return figure
