"""The rules of the structure: which package may import which, and what the lowest may not use."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

import stt_mqtt

PACKAGE = Path(stt_mqtt.__file__).parent
LAYERS = [
    {"hints", "levels", "stages"},
    {"errors"},
    {"nodes", "rungs", "types"},
    {"config"},
    {"audio", "phrases"},
    {"engine", "names", "observe", "mqtt"},
    {"core"},
    {"doors", "fleet"},
    {"app", "satellite"},
    {"demo", "doctor"},
    {"commands"},
    {"cli"},
    {"__main__"},
]
"""From the lowest to the highest. A package imports packages below it and itself."""

PURE_PACKAGES = {
    "nodes",
    "rungs",
    "types",
    "errors",
    "hints",
    "levels",
    "stages",
    "config",
    "audio",
}
PURE_CORE = {
    "budget", "device", "filters", "hearing", "listening", "outcomes", "overflow", "pace",
    "partials", "queue", "queue_limits", "refusals", "regulars", "resequencer", "settings",
    "shares", "start", "utterance",
}  # fmt: skip
"""Modules of `core` that hold state and decide, and touch nothing of the world."""
IMPURE_MODULES = {
    "asyncio", "concurrent", "datetime", "http", "io.open", "multiprocessing", "os", "pathlib",
    "sched", "select", "selectors", "shutil", "signal", "socket", "subprocess", "sys", "tempfile",
    "threading", "time", "urllib.error", "urllib.request",
}  # fmt: skip
IMPURE_CALLS = {"open", "input", "print"}

OWNERS = {
    "av": {"audio"},
    "webrtcvad": {"audio"},
    "pyspeex_noise": {"audio"},
    "yaml": {"config", "phrases"},
    "hassil": {"phrases"},
    "rapidfuzz": {"phrases"},
    "ctranslate2": {"engine"},
    "faster_whisper": {"engine"},
    "huggingface_hub": {"engine"},
    "nacl": {"fleet"},
    "nats": {"demo", "fleet"},
    "paho": {"mqtt"},
    "prometheus_client": {"observe"},
    "aiohttp": {"doors", "names"},
    "wyoming": {"doors", "commands"},
    "zeroconf": {"doors"},
    "iotcore": {"doors"},
    "sounddevice": {"satellite"},
    "rich": {"commands"},
    "jiwer": {"commands"},
    "matplotlib": {"commands"},
    "whisper_normalizer": {"commands"},
}
"""The packages that may import a library. All may import numpy and pydantic."""

COMMON_LIBRARIES = {"numpy", "pydantic", "pydantic_core"}


MAP = PACKAGE.parent / "ARCHITECTURE.md"
PACKAGE_ROW = r"^\| (\d+) \| `(\w+)` \|"


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def package_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def is_pure(path: Path) -> bool:
    package = package_of(path)
    return package in PURE_PACKAGES or (package == "core" and path.stem in PURE_CORE)


def layer_of(package: str) -> int:
    return next(number for number, packages in enumerate(LAYERS) if package in packages)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def imports() -> Iterator[tuple[str, str, str]]:
    """Each module with its package and an import of it."""
    for path in modules():
        yield from ((name_of(path), package_of(path), name) for name in imports_of(path))


def is_downwards(package: str, name: str) -> bool:
    first, *rest = name.split(".")
    if first != "stt_mqtt" or not rest or rest[0].startswith("__") or package == "__init__":
        return True
    return rest[0] == package or layer_of(rest[0]) < layer_of(package)


def test_imports_go_downwards() -> None:
    wrong = [
        f"{module} imports {name}"
        for module, package, name in imports()
        if not is_downwards(package, name)
    ]
    assert not wrong


def test_a_library_stays_in_its_package() -> None:
    free = {"stt_mqtt", *sys.stdlib_module_names, *COMMON_LIBRARIES}
    wrong = [
        f"{module} imports {name}"
        for module, package, name in imports()
        if (first := name.split(".")[0]) not in free and package not in OWNERS.get(first, set())
    ]
    assert not wrong


def impure(path: Path) -> Iterator[str]:
    """What a module touches of the world."""
    for name in imports_of(path):
        if name.split(".")[0] in IMPURE_MODULES or name in IMPURE_MODULES:
            yield f"{name_of(path)} imports {name}"
    for node in ast.walk(tree_of(path)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in IMPURE_CALLS
        ):
            yield f"{name_of(path)}, line {node.lineno}: {node.func.id}"


def test_the_lower_packages_touch_no_clock_thread_socket_or_file() -> None:
    assert not [what for path in modules() if is_pure(path) for what in impure(path)]


def test_every_module_has_a_package_in_the_layers() -> None:
    packages = {package_of(path) for path in modules()} - {"__init__"}
    assert packages == set().union(*LAYERS)


def assert_not_imported(libraries: set[str], by: Sequence[str]) -> None:
    """Import modules one after the other in a fresh process."""
    code = (
        "import importlib, sys\n"
        f"for module in {by!r}:\n"
        "    importlib.import_module('stt_mqtt.' + module)\n"
        f"    found = {libraries!r} & set(sys.modules)\n"
        "    assert not found, (module, found)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_what_needs_no_inference_does_not_import_it() -> None:
    heavy = {
        "av", "ctranslate2", "faster_whisper", "huggingface_hub", "iotcore", "onnxruntime",
        "tokenizers",
    }  # fmt: skip
    assert_not_imported(heavy, ("errors", "config", "cli", "commands.watch"))


def test_what_needs_no_phrase_book_does_not_import_its_libraries() -> None:
    modules = (
        "app.application",
        "commands.check_config",
        "commands.phrases",
        "commands.run",
        "commands.transcribe",
        "engine.runner",
        "names.store",
    )
    assert_not_imported({"aiohttp", "hassil", "rapidfuzz"}, modules)


def test_modules_stay_short_enough_to_be_read_at_once() -> None:
    long = {
        name_of(path): count
        for path in modules()
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > 345
    }
    assert not long


def steps_of(heading: str) -> list[tuple[str, str]]:
    """File and function of each step that the map lists under a heading."""
    section = MAP.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^- `(\S+\.py)`: `([\w.]+)`$", section, re.MULTILINE)


def functions_of(path: Path) -> Iterator[str]:
    for node in tree_of(path).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.ClassDef):
            for member in node.body:
                if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield f"{node.name}.{member.name}"


@pytest.mark.parametrize(
    ("heading", "most"), [("The way of a chunk", 12), ("The way of an outcome", 10)]
)
def test_each_step_of_the_two_ways_exists(heading: str, most: int) -> None:
    steps = steps_of(heading)
    assert 2 <= len(steps) <= most
    for file, function in steps:
        assert function in set(functions_of(PACKAGE / file)), f"{function} in {file}"


def test_the_map_has_at_most_200_lines_and_every_package_in_its_layer() -> None:
    text = MAP.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 200
    named = {
        package: int(number) for number, package in re.findall(PACKAGE_ROW, text, re.MULTILINE)
    }
    expected = {package: layer_of(package) for package in set().union(*LAYERS) - {"__main__"}}
    assert named == expected


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "docs/decisions.md"])
def test_every_module_that_a_page_names_exists(page: str) -> None:
    text = (PACKAGE.parent / page).read_text(encoding="utf-8")
    packages = "|".join(set().union(*LAYERS))
    named = set(re.findall(rf"(?<![\w/.-])((?:{packages})/[\w/.-]*)", text))
    assert len(named) > 10
    for name in named:
        path = PACKAGE / name
        places = (path, path.with_suffix(".py"), PACKAGE.parent / name)
        assert any(place.exists() for place in places), name


def test_numpy_multiplies_on_one_thread_so_that_words_do_not_depend_on_the_machine() -> None:
    code = (
        "import sys, stt_mqtt, os\n"
        "assert 'numpy' not in sys.modules\n"
        "assert os.environ['OPENBLAS_NUM_THREADS'] == '1'\n"
    )
    environ = {name: value for name, value in os.environ.items() if "OPENBLAS" not in name}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=environ)
