"""What the lab takes from torchvision, loaded without torch's compiler: see :mod:`htc_lab.light_imports`.

Whichever module loads torchvision first decides, so all modules take its parts from here.
"""

from htc_lab.light_imports import postponed

with postponed({"torch._dynamo.utils": "is_compile_supported"}, decorators={"torch._dynamo": "disable"}):
    from torchvision import tv_tensors
    from torchvision.models.resnet import BasicBlock, Bottleneck
    from torchvision.ops import batched_nms, deform_conv2d, nms, roi_align, sigmoid_focal_loss
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional

__all__ = [
    "BasicBlock",
    "Bottleneck",
    "InterpolationMode",
    "batched_nms",
    "deform_conv2d",
    "functional",
    "nms",
    "roi_align",
    "sigmoid_focal_loss",
    "tv_tensors",
]
