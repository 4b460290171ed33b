"""The vendor's frontends, by stand-ins that have what nkipy calls of them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

#: The third generation, as far as it is called: a kernel that adds its arguments, and
#: writes to the first one if it is called so.
THIRD = {
    "nki/__init__.py": "from nki.framework.kernel import jit\n",
    "nki/framework/__init__.py": "",
    "nki/framework/kernel.py": """
        from dataclasses import dataclass
        from typing import Any

        @dataclass
        class Kernel:
            func: Any
            lnc: int = None
            platform_target: str = None

            def __getitem__(self, lnc):
                (lnc,) = lnc if isinstance(lnc, tuple) else (lnc,)
                return Kernel(self.func, lnc)

            def __call__(self, *args, **kwargs):
                return "the vendor's own"

        def jit(func):
            return Kernel(func)
        """,
    "nki/framework/compiled.py": """
        import base64, json, os
        from dataclasses import dataclass
        from types import SimpleNamespace
        from typing import Any

        from nki.framework.kernel import Kernel

        class Frontend:
            def __init__(self, enable_backend_opt):
                self.enable_backend_opt = enable_backend_opt

        @dataclass
        class CompileKernel(Kernel):
            target: str = None
            artifacts_dir: str = None
            nki_compile_mode: str = "?"
            nisa_allocation_mode: str = None
            _enable_backend_opt: bool = False
            _frontend_cls: Any = Frontend

            def _compile_opts(self):
                return {"opt": 1}

            def _cached_compile_to_bir(self, frontend, inputs, opts):
                assert os.path.isdir(self.artifacts_dir)
                arrays = {n: v for n, v in inputs.items() if hasattr(v, "shape")}
                told = [self.func.__name__, self.target, self.lnc, list(arrays)]
                told += [self.nki_compile_mode, self.nisa_allocation_mode, opts]
                first = next(iter(arrays.values()))
                spec = SimpleNamespace(shape=first.shape, dtype=first.dtype)
                text = base64.b64encode(json.dumps(told).encode()).decode()
                config = SimpleNamespace(
                    output_specs=[spec, spec],
                    backend_config_b64=text,
                    has_collectives="collective" in self.func.__name__,
                    operand_output_aliases={0: 1},
                )
                made = SimpleNamespace(is_tuple_return=True)
                made.build_config = lambda: config
                return made
        """,
}
#: The first one.
FIRST = {
    "neuronxcc/__init__.py": "",
    "neuronxcc/nki/__init__.py": "from neuronxcc.nki.compile import jit\n",
    "neuronxcc/nki/compile.py": """
        from contextlib import contextmanager
        from types import SimpleNamespace
        import numpy as np

        class GenericKernel:
            def __init__(self, func):
                self.func, self.opts = func, SimpleNamespace()

            def __call__(self, *args, **kwargs):
                return "the vendor's own"

            @contextmanager
            def bind_arguments(self, **named):
                yield named

            def dump_config_with_boundargs(self, bound):
                assert self.opts.enable_const_rewrite
                arrays = [v for v in bound.values() if self.is_framework_tensor(v)]
                shape, dtype = self.map_framework_tensor(arrays[0])
                return SimpleNamespace(
                    constant_values=[np.float32([[7.0]])],
                    return_types=[(self.translate_to_neuron_dtype(dtype), shape)],
                    dumped_config="config of " + self.func.__name__,
                    has_collectives=False,
                    operand_output_aliases={},
                    result_is_sequence=False,
                )

        def jit(func):
            return GenericKernel(func)
        """,
    "neuronxcc/nki/compiler/__init__.py": "",
    "neuronxcc/nki/compiler/backends/__init__.py": "",
    "neuronxcc/nki/compiler/backends/neuron/__init__.py": "",
    "neuronxcc/nki/compiler/backends/neuron/FrameworkKernel.py": """
        class UnifiedKernel:
            def __call__(self):
                pass
        """,
}

HEAD = """
import numpy as np
from nkipy.core.trace import trace_function
from nkipy.hlo.kernel_languages import TARGET

x = np.arange(6, dtype=np.float32).reshape(2, 3)


def calls_of(kernel, *args):
    module = trace_function(kernel, args, {}).module
    calls = [i for i in module.instructions() if i.opcode == "custom-call"]
    assert all(c.attributes["custom_call_target"] == TARGET for c in calls)
    return module, calls


def added(x, y, scale=2):
    raise AssertionError("the vendor's frontend is asked, not the function")
"""


@pytest.fixture
def run(tmp_path):
    """Runs a script beside a stand-in."""

    def run(script: str, files: dict[str, str]) -> str:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(textwrap.dedent(text))
        path = [str(tmp_path), str(Path(__file__).parents[3])]
        done = subprocess.run(
            [sys.executable, "-c", HEAD + textwrap.dedent(script)],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(path),
                "NEURON_PLATFORM_TARGET_OVERRIDE": "trn2",
            },
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_a_vendors_kernel_is_compiled_by_the_vendors_frontend(run):
    run(
        """
        import base64, json

        import nki

        kernel = nki.jit(added)

        def model(x, y):
            z = x + 1
            total, again = kernel(z, y=y)
            assert again is z
            return total * 2, z

        module, (call,) = calls_of(model, x, x)
        told = json.loads(base64.b64decode(call.attributes["backend_config"]))
        assert told == ["added", "trn2", 1, ["x", "y"], "standard", None, {"opt": 1}]
        assert call.attributes["output_operand_aliasing"] == ((1, 0),)
        assert len(call.operands) == len(call.tuple_shapes) == 2
        assert "frontend_attributes" not in call.attributes
        assert kernel(x, x) == "the vendor's own"
        """,
        THIRD,
    )


def test_collectives_cores_and_modes_are_passed_on(run):
    run(
        """
        import base64, json

        import nki
        from nkipy.core import nki_op

        assert nki_op.BETA3_NKI_AVAILABLE and not nki_op.LEGACY_NKI_AVAILABLE

        def collective(x):
            raise AssertionError

        kernel = nki.jit(collective)[2]
        _, (call,) = calls_of(lambda x: kernel(x + 0)[0], x)
        assert dict(call.attributes["frontend_attributes"]) == {"has_collectives": "1"}
        assert json.loads(base64.b64decode(call.attributes["backend_config"]))[2] == 2

        op = nki_op.wrap_nki_kernel(
            added, [x, x], (2,), platform_target="trn3",
            nki_compile_mode="integration-alloc", nisa_allocation_mode="ring",
        )
        told = json.loads(base64.b64decode(op.config))
        assert told[:3] == ["added", "trn3", 2]
        assert told[4:6] == ["integration-alloc", "ring"]
        _, (call,) = calls_of(lambda x: op(x + 0, x)[0], x)
        assert call.attributes["backend_config"] == op.config
        """,
        THIRD,
    )


def test_a_mode_that_the_frontend_lacks_is_refused(run):
    lacking = THIRD["nki/framework/compiled.py"].replace(
        'nki_compile_mode: str = "?"', ""
    )
    lacking = lacking.replace("self.nki_compile_mode", "None")
    run(
        """
        import nki
        from nkipy.core import nki_op

        kernel = nki.jit(added)
        nki_op.wrap_nki_kernel(kernel, [x, x])
        try:
            nki_op.wrap_nki_kernel(
                kernel, [x, x], nki_compile_mode="integration-alloc"
            )
        except ValueError as error:
            assert "nki_compile_mode='integration-alloc'" in str(error), error
        else:
            raise SystemExit("it was taken")
        """,
        {**THIRD, "nki/framework/compiled.py": lacking},
    )


def test_ours_is_driven_where_it_is_asked_for(run):
    run(
        """
        import nki
        import nkipy_nki
        import nkipy_nki.isa as nisa
        import nkipy_nki.language as nl
        from nkipy.runtime import simulate_jit
        from nkipy_emulator.errors import UnsupportedCustomCallError

        @nkipy_nki.jit
        def ours(x):
            result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
            nisa.dma_copy(result, x)
            return result

        assert nki.__file__ != nkipy_nki.__file__
        assert np.array_equal(simulate_jit(lambda x: ours(x) * 2)(x), 2 * x)
        theirs = nki.jit(added)
        try:
            simulate_jit(lambda x: theirs(x + 0, x)[0])(x)
        except UnsupportedCustomCallError as error:
            assert "nkipy_nki" in str(error), error
        else:
            raise SystemExit("a kernel of the vendor's cannot run here")
        """,
        THIRD,
    )


def test_a_vendors_that_is_imported_late_is_seen(run):
    run(
        """
        import sys
        from nkipy.core import nki_op

        assert "nki" not in sys.modules and nki_op.BETA3_NKI_AVAILABLE
        trace_function(lambda x: x + 1, (x,), {})
        import nki

        kernel = nki.jit(added)
        _, (call,) = calls_of(lambda x: kernel(x + 0, x)[0], x)
        """,
        THIRD,
    )


def test_the_first_generation(run):
    run(
        """
        from neuronxcc import nki
        from nkipy.core import nki_op

        assert nki_op.LEGACY_NKI_AVAILABLE and not nki_op.BETA3_NKI_AVAILABLE
        kernel = nki.jit(added)
        _, (call,) = calls_of(lambda x: kernel(x, x + 1) * 2, x)
        assert call.attributes["backend_config"] == b"config of added"
        constant = call.operands[2]
        assert float(constant.attributes["literal"].reshape(())) == 7.0
        assert call.shape == (2, 3) and len(call.operands) == 3
        assert kernel(x, x) == "the vendor's own"
        """,
        FIRST,
    )


def test_our_own_names_are_not_taken_for_the_vendors(run):
    run(
        """
        import nki
        from nkipy.core import nki_op

        assert nki.__name__ == "nkipy_nki"
        assert not nki_op.BETA3_NKI_AVAILABLE and not nki_op.LEGACY_NKI_AVAILABLE
        """,
        {},
    )
