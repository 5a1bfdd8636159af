"""Documents that name something in the code name something that is there."""

import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
GUIDE = ROOT / "CONTRIBUTING.md"
PAGES = [
    ROOT / "README.md",
    GUIDE,
    ROOT / "CHANGELOG.md",
    ROOT / "deploy" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "services").glob("*/README.md")),
    ROOT / "pointbank" / "verify" / "README.md",
]


def test_every_test_that_the_invariants_name_exists() -> None:
    text = (ROOT / "docs" / "invariants.md").read_text()
    named = re.findall(r"`(tests/\S+\.py)::(test_\w+)`", text)
    assert len(named) > 40
    missing = [f"{path}::{name}" for path, name in named if not defined(ROOT / path, name)]
    assert missing == []


def defined(path: Path, name: str) -> bool:
    return path.exists() and re.search(rf"^(async )?def {name}\(", path.read_text(), re.MULTILINE) is not None


def test_each_of_the_ten_invariants_names_tests() -> None:
    text = (ROOT / "docs" / "invariants.md").read_text()
    parts = re.split(r"^## (\d+)\.", text, flags=re.MULTILINE)[1:]
    assert parts[::2] == [str(number) for number in range(1, 11)]
    assert min(part.count("::test_") for part in parts[1::2]) >= 3


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_has_its_four_parts_on_thirty_lines(page: Path) -> None:
    lines = page.read_text().splitlines()
    assert len(lines) <= 30
    assert lines[0].startswith("# ")
    text = "\n".join(lines)
    parts = [word for word in ("Context", "Decision", "Consequences", "Revisit when") if word not in text]
    assert parts == []


def test_the_index_lists_every_decision_by_its_title() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text()
    listed = re.findall(r"^- \[(.+)\]\((\d{4}-\S+\.md)\)$", index, re.MULTILINE)
    there = [(page.read_text().splitlines()[0].removeprefix("# "), page.name) for page in DECISIONS]
    assert listed == there


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_test_that_a_page_or_a_module_names_exists() -> None:
    named = {
        (str(file.relative_to(ROOT)), name)
        for folder in ("services", "shared", "pointbank", "docs", "deploy", "bench")
        for file in sorted((ROOT / folder).rglob("*"))
        if file.suffix in {".py", ".md", ".sql"}
        for name in re.findall(r"\btests/[\w/]+\.py\b", file.read_text())
    }
    assert len(named) > 10
    assert [(file, name) for file, name in sorted(named) if not (ROOT / name).exists()] == []


def test_every_place_that_the_contributors_page_names_exists() -> None:
    named = re.findall(r"`((?:services|shared|pointbank|tests|docs|deploy)/[\w./-]+)`", GUIDE.read_text())
    assert len(named) > 60
    assert [place for place in named if not (ROOT / place).exists()] == []


def test_a_file_that_the_contributors_page_names_beside_its_folder_is_there() -> None:
    parts = re.findall(r"^\*\*(shared[\w/]*)[^*]*\*\*(.+?)\n\n", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    named = [f"{folder}/{file}" for folder, text in parts for file in re.findall(r"`(\w+(?:\.py|/))`", text)]
    assert len(named) > 20
    assert [place for place in named if not (ROOT / place).exists()] == []


def test_what_the_contributors_page_says_stands_in_a_file_stands_there() -> None:
    named = re.findall(r"`(\w+)`(?: and `(\w+)`)? in `([\w/-]+\.py)`", GUIDE.read_text())
    assert len(named) > 20
    missing = [
        (word, place)
        for *words, place in named
        for word in words
        if word and not re.search(rf"\b{word}\b", (ROOT / place).read_text())
    ]
    assert missing == []


def test_the_make_targets_that_pages_for_newcomers_name_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = (ROOT / "README.md").read_text() + GUIDE.read_text()
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE))
    assert {"run", "test", "up", "help", "check", "lint", "lock"} <= named <= targets


def test_the_readmes_bill_by_hand_is_another_bill_each_time() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [made] = re.findall(r"^(REF=.*?\n.*?)\|\n  redis-cli [^\n]* XADD", readme, re.MULTILINE | re.DOTALL)
    refs = []
    for now in (1_795_000_001, 1_795_000_002):
        clock = f'date() {{ command date -d @{now} "$@"; }}'
        ran = subprocess.run(["bash", "-euc", f"{clock}\n{made}"], capture_output=True, check=True, text=True)
        event = json.loads(ran.stdout)
        refs.append((event["id"], event["data"]["bill_ref"], event["data"]["occurred_at"][-4:]))
    assert refs == [
        ("BY-HAND-1795000001", "BY-HAND-1795000001", ":41Z"),
        ("BY-HAND-1795000002", "BY-HAND-1795000002", ":42Z"),
    ]
