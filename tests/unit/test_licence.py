"""What is handed on carries its licence: the wheel's metadata names it and brings its text."""

import os
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LICENCE = (ROOT / "LICENSE").read_text()


def test_the_text_is_the_whole_of_apache_2() -> None:
    parts = [line.strip() for line in LICENCE.splitlines() if line[3:6].strip(" ").rstrip(".").isdigit()]
    assert [part.partition(".")[0] for part in parts] == [str(number) for number in range(1, 10)]
    assert "Version 2.0, January 2004" in LICENCE
    assert "END OF TERMS AND CONDITIONS" in LICENCE
    assert "limitations under the License." in LICENCE.splitlines()[-1]


def test_the_wheel_names_its_licence_and_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hatchling.build import build_wheel

    monkeypatch.chdir(ROOT)
    with zipfile.ZipFile(tmp_path / build_wheel(os.fspath(tmp_path))) as wheel:
        [metadata] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        told = HeaderParser().parsestr(wheel.read(metadata).decode())
        text = wheel.read(metadata.replace("METADATA", "licenses/LICENSE")).decode()
    assert (told["License-Expression"], told.get_all("License-File")) == ("Apache-2.0", ["LICENSE"])
    assert text == LICENCE
