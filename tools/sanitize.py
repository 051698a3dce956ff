"""Run the kernel tests under a sanitizer: memory and undefined behaviour, or data races.

    python tools/sanitize.py address,undefined
    python tools/sanitize.py thread

The kernels are built apart, in ``build/sanitize-*``, and put in the place of the installed ones for this process alone.
Needs a C++ compiler with its sanitizer libraries (GCC or Clang), and cmake, ninja and nanobind as Python packages or on
the path.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUNTIME = {"address,undefined": "libasan.so", "thread": "libtsan.so"}
OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0",  # Python and PyTorch keep what they have until they end
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:ignore_noninstrumented_modules=1",
    "OMP_NUM_THREADS": "1",
}
# They fork, or look for memory in places where a sanitizer does not put it.
LEFT_OUT = "not fork and not used_again"


def build(sanitizers: str) -> Path:
    """Build the kernels with ``sanitizers``; the folder that holds the module."""
    folder = ROOT / "build" / f"sanitize-{sanitizers.replace(',', '-')}"
    options = [f"-DUNRENDER_SANITIZE={sanitizers}", f"-DPython_EXECUTABLE={sys.executable}", "-DCMAKE_BUILD_TYPE=Debug"]
    if (
        sanitizers == "thread"
    ):  # for the compiler's own choice: GCC 12 miscompiles AVX-512 with -fsanitize=thread at -O3
        options.append("-DUNRENDER_ARCH=")
    subprocess.run(["cmake", "-G", "Ninja", "-S", str(ROOT), "-B", str(folder), *options], check=True)
    subprocess.run(["cmake", "--build", str(folder)], check=True)
    return folder


def run_again(sanitizers: str, folder: Path) -> int:
    """Start this program anew with the sanitizer's library loaded first, as it must be; its exit status."""
    compiler = os.environ.get("CXX", "c++")
    asked = subprocess.run(
        [compiler, f"-print-file-name={RUNTIME[sanitizers]}"], capture_output=True, text=True, check=True
    )
    environment = {**os.environ, **OPTIONS, "LD_PRELOAD": asked.stdout.strip()}
    return subprocess.run([sys.executable, __file__, "--tests", str(folder)], env=environment, check=False).returncode


def run_tests(folder: Path) -> int:
    """The kernel tests, in this process, on the module in ``folder``."""
    import pytest

    (file,) = folder.glob("_native*.so")
    spec = importlib.util.spec_from_file_location("unrender.kernels._native", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"no module in {file}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    names = ("test_rasterize_points_op.py", "test_rasterize_points_moving.py", "test_sample_environment.py")
    tests = [str(ROOT / "tests" / "kernels" / name) for name in names]
    return pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT), "-k", LEFT_OUT, *tests])


if __name__ == "__main__":
    if sys.argv[1] == "--tests":
        sys.exit(run_tests(Path(sys.argv[2])))
    sys.exit(run_again(sys.argv[1], build(sys.argv[1])))
