"""The files that `cargo xtask wheel` has built: their labels and what is in them."""

import os
import pathlib
import re
import struct
import tarfile
import zipfile

import pytest

if "CLIENTLET_DIST" not in os.environ:
    pytest.skip("CLIENTLET_DIST is not set to the folder with the built files", allow_module_level=True)

DIST = pathlib.Path(os.environ["CLIENTLET_DIST"])
IS_RELEASE = "CLIENTLET_RELEASE" in os.environ
PACKAGE = pathlib.Path(__file__).parents[1]
MIB = 1 << 20

WHEELS = sorted(DIST.glob("*.whl"))


def sources() -> list[str]:
    """The files of the package."""
    folder = PACKAGE / "python"
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return sorted(str(path) for path in files if path.suffix in (".py", ".pyi", ".typed"))


def sections(library: bytes) -> list[str]:
    """The names of the sections of an ELF file of 64 bits."""
    (start,) = struct.unpack_from("<Q", library, 0x28)
    size, count, index_of_names = struct.unpack_from("<HHH", library, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", library, start + number * size) for number in range(count)]
    names = headers[index_of_names][4]
    ends = [(names + header[0], library.index(b"\0", names + header[0])) for header in headers]
    return [library[begin:end].decode() for begin, end in ends]


def test_there_is_a_wheel_for_the_stable_abi_and_at_most_one_more():
    versions = [path.name.split("-")[2:4] for path in WHEELS]
    assert ["cp311", "abi3"] in versions
    assert len(versions) == 1 or versions == [["cp310", "cp310"], ["cp311", "abi3"]]


@pytest.mark.parametrize("path", WHEELS, ids=lambda path: path.name)
class TestWheel:
    def test_it_has_the_package_the_library_the_licence_and_nothing_else(self, path):
        name, version, _, abi, _ = path.stem.split("-", 4)
        library = "abi3" if abi == "abi3" else r"cpython-310-[\w-]+"
        infos = ["METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"]
        infos.append("sboms/clientlet-python.cyclonedx.json")
        with zipfile.ZipFile(path) as wheel:
            names = [entry.filename for entry in wheel.infolist() if not entry.is_dir()]
        (module,) = [name for name in names if name.endswith(".so")]
        assert re.fullmatch(rf"clientlet/_core\.{library}\.so", module)
        names.remove(module)
        assert sorted(names) == sorted(sources() + [f"{name}-{version}.dist-info/{info}" for info in infos])

    def test_its_labels_are_those_of_its_name(self, path):
        with zipfile.ZipFile(path) as wheel:
            (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/WHEEL")]
            tags = re.findall("^Tag: (.*)$", wheel.read(name).decode(), re.MULTILINE)
            metadata = wheel.read(name.replace("WHEEL", "METADATA")).decode()
        *_, python, abi, platforms = path.stem.split("-", 4)
        assert tags == [f"{python}-{abi}-{platform}" for platform in platforms.split(".")]
        if IS_RELEASE:
            assert "manylinux_2_17_" in platforms
        for line in ("License-Expression: Apache-2.0", "License-File: LICENSE", "Requires-Python: >=3.10"):
            assert line in metadata.splitlines()
        # Nothing is installed with it.
        assert "Requires-Dist" not in metadata

    def test_its_library_is_stripped_and_small(self, path):
        with zipfile.ZipFile(path) as wheel:
            (module,) = [name for name in wheel.namelist() if name.endswith(".so")]
            library = wheel.read(module)
        names = sections(library)
        assert ".dynsym" in names
        assert not [name for name in names if name == ".symtab" or name.startswith(".debug")]
        if IS_RELEASE:
            assert path.stat().st_size < 8 * MIB


def test_the_source_distribution_has_all_crates_and_nothing_built():
    (path,) = DIST.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    for name in ("Cargo.lock", "Cargo.toml", "LICENSE", "PKG-INFO", "pyproject.toml"):
        assert name in names
    for name in sources():
        assert f"python/{name}" in names
    for name in ("clientlet", "clientlet-cli", "clientlet-gateway", "clientlet-proto", "clientlet-python"):
        assert f"crates/{name}/Cargo.toml" in names
    built = re.compile(r"(^|/)(target|__pycache__|\.\w*_cache)/|\.(so|pyc|whl)$")
    assert [name for name in names if built.search(name)] == []
    assert path.stat().st_size < 4 * MIB
