from htc_lab.light_imports import postponed

# Before any layer imports from it.
with postponed({"torch._dynamo.utils": "is_compile_supported"}):
    import torchvision  # noqa: F401
