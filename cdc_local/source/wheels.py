"""A pipeline runs with the wheel that was deployed, not with the code that happens to lie beside it."""

import importlib
import runpy
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from importlib import metadata
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from packaging.requirements import InvalidRequirement, Requirement
from packaging.tags import sys_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

import cdc_utils
from cdc_local.errors import UsageError
from cdc_local.source.deployed import PACKAGE, is_deployed_module


def is_wheel(
    dependency: str,  # One of an environment's dependencies
) -> bool:
    """Tell a wheel from a library's name."""
    return dependency.strip().endswith(".whl")


def unpack_wheel(
    wheel: Path,  # The file
    folder: Path,  # Where unpacked wheels lie
) -> Path:  # Its folder, which joins `sys.path`
    """Unpack a wheel once, in a folder named by name, version and content; raises `UsageError`."""
    _check_wheel(wheel)
    name, version = wheel.name.split("-")[:2]
    content_hash = sha256(wheel.read_bytes()).hexdigest()[:16]
    unpacked = Path(folder).absolute() / f"{name}-{version}-{content_hash}"
    if unpacked.is_dir():
        return unpacked
    unpacked.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".", dir=unpacked.parent))
    try:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unfinished)
        try:
            unfinished.rename(unpacked)
        except OSError:
            if not unpacked.is_dir():
                raise  # else somebody unpacked the same one meanwhile
    except zipfile.BadZipFile as wrong:
        raise UsageError(f"{wheel} is broken: {wrong}", hint="build it again") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return unpacked


def _check_wheel(
    wheel: Path,  # A file
) -> None:
    """Raise `UsageError` for what is no wheel, or one made for another Python or machine."""
    if not wheel.is_file():
        raise UsageError(f"there is no wheel {wheel}", hint="build it, or name the one that is there")
    try:
        *_, tags = parse_wheel_filename(wheel.name)
    except InvalidWheelFilename as wrong:
        raise UsageError(f"{wheel} is not named like a wheel: {wrong}") from None
    if not tags & set(sys_tags()):
        made_for, python = ", ".join(sorted(map(str, tags))), sys.version.split()[0]
        raise UsageError(
            f"{wheel.name} is made for {made_for}, and this is Python {python} on {sys.platform}"
        )
    if not zipfile.is_zipfile(wheel):
        raise UsageError(f"{wheel} is broken: it is no zip file", hint="build it again")


def refuse_missing_libraries(
    dependencies: Iterable[str],  # Requirements, as `pip` reads them: `faker>=40`
) -> None:
    """Raise `UsageError` that names every library that is not installed here in a version that will do."""
    missing = []
    for dependency in dependencies:
        try:
            requirement = Requirement(dependency)
        except InvalidRequirement:
            raise UsageError(
                f"dependency {dependency!r} is neither a wheel nor a requirement",
                hint="the local runner reads paths of wheels and lines like faker>=40",
            ) from None
        if requirement.marker and not requirement.marker.evaluate():
            continue
        try:
            installed = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            missing.append((dependency, "is not installed"))
        else:
            if not requirement.specifier.contains(installed, prereleases=True):
                missing.append((dependency, f"is here as {installed}"))
    if missing:
        reasons = "; ".join(f"{dependency} {reason}" for dependency, reason in missing)
        raise UsageError(
            f"the environment needs what is not here: {reasons}",
            hint="pip install " + " ".join(f"'{dependency}'" for dependency, _ in missing),
        )


@contextmanager
def import_from_wheels(
    folders: Sequence[Path],  # Unpacked wheels
) -> Iterator[None]:
    """Import these wheels' modules before any others; raises `UsageError` for two wheels of this package."""
    own = [folder for folder in folders if (folder / PACKAGE / "__init__.py").is_file()]
    if len(own) > 1:
        raise UsageError(
            f"two wheels bring {PACKAGE}: {', '.join(folder.name for folder in own)}", hint="name one"
        )
    path = list(sys.path)
    sys.path[:0] = map(str, folders)
    importlib.invalidate_caches()
    try:
        if own:
            with _import_package_from(own[0]):
                yield
        else:
            yield
    finally:
        sys.path[:] = path


@contextmanager
def _import_package_from(
    folder: Path,  # An unpacked wheel of this package
) -> Iterator[None]:
    """Import this package's deployed modules from a wheel; afterwards everything is as it was."""
    finder, version = _WheelFinder(folder), cdc_utils.__version__
    modules = {name: module for name, module in sys.modules.items() if is_deployed_module(name)}
    names = {name.split(".")[1] for name in modules}
    attributes = {name: getattr(cdc_utils, name) for name in names if hasattr(cdc_utils, name)}
    _forget_deployed_modules()
    sys.meta_path.insert(0, finder)
    try:
        package = runpy.run_path(str(folder / PACKAGE / "__init__.py"))
        cdc_utils.__version__ = package.get("__version__", version)
        yield
    finally:
        _forget_deployed_modules()
        sys.meta_path.remove(finder)
        sys.modules.update(modules)
        vars(cdc_utils).update(attributes, __version__=version)


def _forget_deployed_modules() -> None:
    """Let the next import of a deployed module read it anew."""
    for name in [name for name in sys.modules if is_deployed_module(name)]:
        vars(cdc_utils).pop(name.split(".")[1], None)
        del sys.modules[name]


class _WheelFinder(MetaPathFinder):
    """Finds the deployed modules of this package in one wheel, and nowhere else."""

    def __init__(
        self,
        folder: Path,  # The unpacked wheel
    ) -> None:
        self.folder = folder

    def find_spec(
        self,
        fullname: str,  # Full name of a module
        path: Sequence[str] | None = None,  # Folders of its package
        target: ModuleType | None = None,  # Not used
    ) -> ModuleSpec | None:  # None leaves the module to other finders
        """Find a module, as Python's import system asks; raises `ModuleNotFoundError`."""
        if not is_deployed_module(fullname):
            return None
        folders = [str(self.folder / PACKAGE)] if fullname.count(".") == 1 else path
        found = PathFinder.find_spec(fullname, folders)
        if found is None:
            wheel = self.folder.name.rsplit("-", 1)[0]
            raise ModuleNotFoundError(f"No module named {fullname!r} in the wheel {wheel}", name=fullname)
        return found


@contextmanager
def hide_package() -> Iterator[None]:
    """Let this package be missing, as it is on Databricks without a wheel of it.

    Modules that are loaded already go on working.
    """
    sys.modules[PACKAGE] = None  # type: ignore[assignment]  # Python's way to say that there is none
    try:
        yield
    finally:
        sys.modules[PACKAGE] = cdc_utils
