from htc_lab.light_imports import postponed

# Before any layer imports from it.
with postponed({"torch._dynamo.utils": "is_compile_supported"}, decorators={"torch._dynamo": "disable"}):
    import torchvision
    import torchvision.tv_tensors  # noqa: F401
