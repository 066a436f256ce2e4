"""A module that is put off: loaded when it is needed, and never in the way."""

import subprocess
import sys

import pytest

from htc_lab.light_imports import postponed

_MODULE = """
print("loaded")
other = 7
def f(x, y=1):
    return x + y
def twice(g):
    return lambda x: 2 * g(x)
"""


@pytest.fixture
def heavy(tmp_path, monkeypatch):
    (tmp_path / "heavy_module.py").write_text(_MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "heavy_module"
    sys.modules.pop("heavy_module", None)


def test_a_function_loads_its_module_when_it_is_called(heavy, capsys):
    with postponed({heavy: "f"}):
        from heavy_module import f
    assert heavy not in sys.modules
    assert capsys.readouterr().out == ""
    assert f(1, y=2) == 3
    assert f(1) == 2
    assert capsys.readouterr().out == "loaded\n"


def test_a_decorator_loads_its_module_when_what_it_decorates_is_called(heavy, capsys):
    with postponed({}, decorators={heavy: "twice"}):
        import heavy_module

        @heavy_module.twice
        def plus_one(x):
            return x + 1

    assert heavy not in sys.modules
    assert plus_one.__name__ == "plus_one"
    assert capsys.readouterr().out == ""
    assert [plus_one(1), plus_one(5)] == [4, 12]
    assert capsys.readouterr().out == "loaded\n"


def test_any_other_name_loads_it_at_once(heavy):
    with postponed({heavy: "f"}):
        from heavy_module import other
    assert other == 7
    assert sys.modules[heavy].f(1) == 2


def test_what_is_loaded_already_stays(heavy):
    import heavy_module

    with postponed({heavy: "f"}):
        from heavy_module import f
    assert f is heavy_module.f
    assert sys.modules[heavy] is heavy_module


def test_an_error_leaves_nothing_behind(heavy):
    with pytest.raises(ZeroDivisionError), postponed({heavy: "f"}):
        raise ZeroDivisionError
    assert heavy not in sys.modules


def test_a_model_loads_neither_torch_s_compiler_nor_mmengine_s_trainers():
    program = (
        "import sys, htc_lab; htc_lab.load, htc_lab.build_model, htc_lab.explore\n"
        "heavy = ('torch', 'torch._dynamo', 'torch.distributed.fsdp', 'sympy', 'mmengine.runner')\n"
        "print([m for m in heavy if m in sys.modules])\n"
        # As they do where such a function is needed after all.
        "import mmcv.cnn.alexnet, torchvision\n"
        "print(sys.modules['torchvision.ops.roi_align'].is_compile_supported('cpu') in (True, False))\n"
        "try: mmcv.cnn.alexnet.load_checkpoint(None, 'no_such.pth')\n"
        "except FileNotFoundError: print('mmengine.runner' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    # mmengine says in between what it tries to load.
    first, second, *_, last = done.stdout.splitlines()
    assert (first, second, last) == ("['torch']", "True", "True")
