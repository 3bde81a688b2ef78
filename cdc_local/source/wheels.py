"""A pipeline runs with the wheel that was deployed, not with the code that happens to lie beside it."""

import importlib.machinery
import runpy
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from hashlib import sha256
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.tags import sys_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

import cdc_utils
from cdc_local.errors import UsageError


def check_wheel(
    wheel: Path,  # A file
) -> None:
    "`UsageError` for what is no wheel, or one made for another Python or machine."
    if not wheel.is_file():
        raise UsageError(f"there is no wheel {wheel}", hint="build it, or name the one that is there")
    try:
        *_, tags = parse_wheel_filename(wheel.name)
    except InvalidWheelFilename as wrong:
        raise UsageError(f"{wheel} is not named like a wheel: {wrong}") from None
    if not tags & set(sys_tags()):
        raise UsageError(
            f"{wheel.name} is made for {', '.join(sorted(map(str, tags)))}, and this is Python {sys.version.split()[0]} on {sys.platform}"
        )
    if not zipfile.is_zipfile(wheel):
        raise UsageError(f"{wheel} is broken: it is no zip file", hint="build it again")


def unpack_wheel(
    wheel: Path,  # The file
    folder: Path,  # Where unpacked wheels lie
) -> Path:  # Its folder, which joins `sys.path`
    "Unpack a wheel once; the folder is named by name, version and content. Raises `UsageError`."
    check_wheel(wheel)
    name, version = wheel.name.split("-")[:2]
    place = Path(folder).absolute() / f"{name}-{version}-{sha256(wheel.read_bytes()).hexdigest()[:16]}"
    if place.is_dir():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".", dir=place.parent))
    try:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(work)
        try:
            work.rename(place)
        except OSError:
            if not place.is_dir():
                raise  # else somebody unpacked the same one meanwhile
    except zipfile.BadZipFile as wrong:
        raise UsageError(f"{wheel} is broken: {wrong}", hint="build it again") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return place


def is_wheel(
    dependency: str,  # One of an environment's dependencies
) -> bool:
    "Tell a wheel from a library's name."
    return dependency.strip().endswith(".whl")


def refuse_missing_libraries(
    dependencies: Iterable[str],  # Requirements, as `pip` reads them: `faker>=40`
) -> None:
    "`UsageError` names every library that is not installed here in a version that will do."
    missing = []
    for text in dependencies:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            raise UsageError(
                f"dependency {text!r} is neither a wheel nor a requirement",
                hint="the local runner reads paths of wheels and lines like faker>=40",
            ) from None
        if requirement.marker and not requirement.marker.evaluate():
            continue
        try:
            found = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            missing.append((text, "is not installed"))
        else:
            if not requirement.specifier.contains(found, prereleases=True):
                missing.append((text, f"is here as {found}"))
    if missing:
        told = "; ".join(f"{text} {why}" for text, why in missing)
        raise UsageError(
            f"the environment needs what is not here: {told}",
            hint="pip install " + " ".join(f"'{text}'" for text, _ in missing),
        )


PACKAGE = cdc_utils.__name__

RUNNER = ("pictures", "results", "remote", "_modidx")  # Parts of the package that are never deployed


def is_deployed_module(
    module: str,  # Full name of a module
) -> bool:  # Whether a wheel has to bring it
    "A part of this package that a pipeline or a job imports."
    package, _, rest = module.partition(".")
    return package == PACKAGE and bool(rest) and rest.split(".")[0] not in RUNNER


class WheelFinder(importlib.abc.MetaPathFinder):
    "Finds the deployed part of this package in one wheel, and nowhere else."

    def __init__(
        self,
        folder: Path,  # The unpacked wheel
    ) -> None:
        self.folder = folder

    def find_spec(self, fullname, path=None, target=None):
        "Part of Python's import system."
        if not is_deployed_module(fullname):
            return None
        places = [str(self.folder / PACKAGE)] if fullname.count(".") == 1 else path
        found = importlib.machinery.PathFinder.find_spec(fullname, places)
        if found is None:
            raise ModuleNotFoundError(
                f"No module named {fullname!r} in the wheel {self.folder.name.rsplit('-', 1)[0]}",
                name=fullname,
            )
        return found


@contextmanager
def package_from_wheel(
    folder: Path,  # An unpacked wheel of this package
):
    "Answer imports of this package's deployed modules from the wheel; put everything back afterwards."
    finder, version = WheelFinder(folder), cdc_utils.__version__
    modules = {name: module for name, module in sys.modules.items() if is_deployed_module(name)}
    names = {
        name: getattr(cdc_utils, name)
        for name in {full.split(".")[1] for full in modules}
        if hasattr(cdc_utils, name)
    }

    def forget() -> None:
        for name in [name for name in sys.modules if is_deployed_module(name)]:
            vars(cdc_utils).pop(name.split(".")[1], None)
            del sys.modules[name]

    forget()
    sys.meta_path.insert(0, finder)
    try:
        cdc_utils.__version__ = runpy.run_path(str(folder / PACKAGE / "__init__.py")).get(
            "__version__", version
        )
        yield
    finally:
        forget()
        sys.meta_path.remove(finder)
        sys.modules.update(modules)
        vars(cdc_utils).update(names, __version__=version)


@contextmanager
def wheels_first(
    folders: Sequence[Path],  # Unpacked wheels
):
    "Let modules of these wheels come before any others."
    own = [folder for folder in folders if (folder / PACKAGE / "__init__.py").is_file()]
    if len(own) > 1:
        raise UsageError(
            f"two wheels bring {PACKAGE}: {', '.join(folder.name for folder in own)}", hint="name one"
        )
    path = list(sys.path)
    sys.path[:0] = map(str, folders)
    importlib.invalidate_caches()
    try:
        if not own:
            yield
        else:
            with package_from_wheel(own[0]):
                yield
    finally:
        sys.path[:] = path


@contextmanager
def hide_package():
    "Let this package be missing, as it is on Databricks for whoever brings no wheel of it. What is loaded already goes on working."
    sys.modules[PACKAGE] = None  # Python's way to say that there is none
    try:
        yield
    finally:
        sys.modules[PACKAGE] = cdc_utils
