"A pipeline's wheel: unpacked once, its modules before any others, everything as before afterwards."

import importlib
import sys
import zipfile
from importlib import metadata

import pytest

import cdc_utils
from cdc_local.errors import UsageError
from cdc_local.source.deployed import is_deployed_module
from cdc_local.source.wheels import (
    hide_package,
    import_from_wheels,
    is_wheel,
    refuse_missing_libraries,
    unpack_wheel,
)

FILES_OF_SHOP = {"shop/__init__.py": 'VERSION = "1.2"', "shop/rates.py": "VAT = 0.19"}


@pytest.fixture
def make_wheel(tmp_path):
    "Makes a wheel of a few files, with the record that `pip` would read"

    def make(name, version, files):
        path = tmp_path / f"{name}-{version}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for file, text in files.items():
                archive.writestr(file, text)
            record = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            archive.writestr(f"{name}-{version}.dist-info/METADATA", record)
        return path

    return make


@pytest.fixture
def folder(tmp_path):
    "Where wheels are unpacked"
    return tmp_path / "wheels"


@pytest.fixture
def shop(make_wheel):
    return make_wheel("shop", "1.2+5d1f", FILES_OF_SHOP)


@pytest.fixture
def deployed(make_wheel, folder):
    "An unpacked wheel of cdc_utils with a `customers` of its own, and without `gold`"
    wheel = make_wheel(
        "cdc_utils",
        "9.9+abc",
        {
            "cdc_utils/__init__.py": '__version__ = "9.9+abc"',
            "cdc_utils/customers.py": "from . import spec\nCURRENT = spec.NAME",
            "cdc_utils/spec.py": 'NAME = "from the wheel"',
        },
    )
    return unpack_wheel(wheel, folder)


def test_a_wheel_is_unpacked_into_a_folder_of_its_name_and_version(shop, folder):
    unpacked = unpack_wheel(shop, folder)
    assert unpacked.parent == folder and unpacked.name.rsplit("-", 1)[0] == "shop-1.2+5d1f"
    assert sorted(
        path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()
    ) == [
        "shop-1.2+5d1f.dist-info/METADATA",
        "shop/__init__.py",
        "shop/rates.py",
    ]


def test_the_same_content_is_unpacked_once_and_other_content_elsewhere(shop, folder, make_wheel):
    unpacked = unpack_wheel(shop, folder)
    (unpacked / "mark").touch()
    assert unpack_wheel(shop, folder) == unpacked and (unpacked / "mark").exists()
    changed = make_wheel("shop", "1.2+5d1f", FILES_OF_SHOP | {"shop/rates.py": "VAT = 0.20"})
    other = unpack_wheel(changed, folder)
    assert other != unpacked  # an update that runs keeps what it has
    assert sorted(folder.iterdir()) == sorted([unpacked, other])  # nothing half unpacked is left


def test_a_broken_wheel_is_named_and_leaves_nothing(shop, folder, tmp_path):
    broken = tmp_path / "shop-2-py3-none-any.whl"
    broken.write_text("<html>404</html>")
    with pytest.raises(UsageError, match="is broken: it is no zip file; build it again"):
        unpack_wheel(broken, folder)
    broken.write_bytes(shop.read_bytes().replace(b"VAT", b"TAX"))  # its checksum is another
    with pytest.raises(UsageError, match="is broken: Bad CRC-32 for file"):
        unpack_wheel(broken, folder)
    assert list(folder.iterdir()) == []


def test_what_is_no_wheel_for_this_python_is_refused(shop, folder, tmp_path):
    with pytest.raises(UsageError, match=r"there is no wheel .*shop\.whl"):
        unpack_wheel(tmp_path / "shop.whl", folder)
    unnamed = shop.rename(tmp_path / "shop.whl")
    with pytest.raises(UsageError, match="is not named like a wheel"):
        unpack_wheel(unnamed, folder)
    other = unnamed.rename(tmp_path / "shop-1-cp27-cp27m-win32.whl")
    with pytest.raises(UsageError, match="is made for cp27-cp27m-win32, and this is Python"):
        unpack_wheel(other, folder)


@pytest.mark.parametrize(
    "dependency, wanted",
    [
        ("/Volumes/dev/shop/wheels/shop-1-py3-none-any.whl", True),
        ("faker>=40", False),
        ("faker==40.1", False),
    ],
)
def test_a_wheel_is_told_from_a_library(dependency, wanted):
    assert is_wheel(dependency) is wanted


def test_libraries_that_are_missing_here_are_named_together():
    refuse_missing_libraries(["packaging>=20", 'nothing-at-all; python_version < "3"'])
    with pytest.raises(UsageError) as caught:
        refuse_missing_libraries(["packaging<1", "no-such-thing>=2"])
    assert str(caught.value) == (
        f"the environment needs what is not here: packaging<1 is here as {metadata.version('packaging')}; "
        "no-such-thing>=2 is not installed; pip install 'packaging<1' 'no-such-thing>=2'"
    )
    with pytest.raises(UsageError, match="'-r requirements.txt' is neither a wheel nor a requirement"):
        refuse_missing_libraries(["-r requirements.txt"])


@pytest.mark.parametrize(
    "module, wanted",
    [
        ("cdc_utils.gold", True),
        ("cdc_utils.envelopes.debezium", True),
        ("cdc_utils", False),
        ("cdc_utils.results", False),
        ("cdc_utilsx.gold", False),
        ("cdc_local.errors", False),
    ],
)
def test_deployed_modules(module, wanted):
    assert is_deployed_module(module) is wanted


def test_modules_come_from_the_wheels_and_from_nowhere_else(deployed, shop, folder):
    with import_from_wheels([deployed, unpack_wheel(shop, folder)]):
        assert importlib.import_module("cdc_utils.customers").CURRENT == "from the wheel"
        assert (cdc_utils.__version__, metadata.version("cdc_utils")) == ("9.9+abc", "9.9+abc")
        assert importlib.import_module("shop.rates").VAT == 0.19
        with pytest.raises(
            ModuleNotFoundError, match=r"No module named 'cdc_utils\.gold' in the wheel cdc_utils-9\.9\+abc"
        ):
            importlib.import_module("cdc_utils.gold")
        assert importlib.import_module("cdc_local.errors").UsageError is UsageError  # the runner's own
    sys.modules.pop("shop.rates"), sys.modules.pop("shop")


def test_afterwards_modules_are_what_they_were(deployed):
    customers, version = importlib.import_module("cdc_utils.customers"), cdc_utils.__version__
    finders, path = list(sys.meta_path), list(sys.path)
    with import_from_wheels([deployed]):
        assert importlib.import_module("cdc_utils.customers") is not customers
    assert importlib.import_module("cdc_utils.customers") is customers is cdc_utils.customers
    assert hasattr(importlib.import_module("cdc_utils.spec"), "CdcSpec")
    assert (cdc_utils.__version__, sys.meta_path, sys.path) == (version, finders, path)


def test_two_wheels_of_this_package_are_refused(deployed, make_wheel, folder):
    other = unpack_wheel(make_wheel("cdc_utils", "9.8", {"cdc_utils/__init__.py": ""}), folder)
    with (
        pytest.raises(UsageError, match=r"two wheels bring cdc_utils: cdc_utils-9\.9\+abc"),
        import_from_wheels([deployed, other]),
    ):
        pass


@pytest.mark.parametrize("failing", ["cdc_utils/spec.py", "cdc_utils/__init__.py"])
def test_an_import_that_fails_leaves_nothing_behind(make_wheel, folder, failing):
    wheel = make_wheel("cdc_utils", "9.7", {"cdc_utils/__init__.py": "", failing: "1/0"})
    finders, path = list(sys.meta_path), list(sys.path)
    with pytest.raises(ZeroDivisionError), import_from_wheels([unpack_wheel(wheel, folder)]):
        importlib.import_module("cdc_utils.spec")
    assert hasattr(importlib.import_module("cdc_utils.spec"), "CdcSpec")
    assert (sys.meta_path, sys.path) == (finders, path)


def test_without_a_wheel_the_package_is_missing():
    with hide_package(), pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module("cdc_utils")
    assert caught.value.name == "cdc_utils"
    assert importlib.import_module("cdc_utils") is cdc_utils
