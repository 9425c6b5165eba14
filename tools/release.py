"""Release one distribution: fold its changes into its changelog, and check that it is ready.

    python tools/release.py fold handlers      packages/handlers/changes/ becomes a section of CHANGELOG.md
    python tools/release.py check handlers     version, changelog, tag, metadata, description, contents, public names

`check` builds the archives and prints the command that tags them, or what is wrong. Earlier versions are the wheels in
`tests-integration/versions/wheels/`; each release adds its own.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from email.parser import BytesParser
from pathlib import Path
from typing import TYPE_CHECKING

from griffe import GriffeError
from packaging.metadata import Metadata
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version
from trove_classifiers import classifiers as known_classifiers

import boundaries
import public_api

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "tests-integration" / "versions" / "wheels"
URLS = {"Documentation", "Source", "Issues", "Changelog"}
PLACEHOLDER = ".example/"


FRAGMENT = re.compile(r"\+[a-z0-9-]+\.change\.md")  # a change that waits to be folded in


def section_of(changelog: str, version: str) -> str | None:
    """Return what a changelog says about a version, None if it does not name it."""
    found = re.search(rf"^## {re.escape(version)}\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else None


def wrong_version(version: str, earlier: Iterable[str]) -> list[str]:
    """The version is a plain one, and newer than all earlier ones."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        return [f"the version {version} is not of the form 1.2.3: set it with `hatch version`"]
    return [
        f"the version {version} is not newer than {each}, which was released: raise it with `hatch version`"
        for each in earlier
        if Version(each) >= Version(version)
    ]


def wrong_fragments(names: Iterable[str]) -> list[str]:
    """The files in `changes/` have names that say that they are changes."""
    return [
        f"changes/{name} is not named like +a-few-words.change.md, so nobody reads it: rename or remove it"
        for name in names
        if not FRAGMENT.fullmatch(name)
    ]


def wrong_changelog(changelog: str, version: str, fragments: Sequence[str]) -> list[str]:
    """The changelog begins with the version, says something about it, and nothing waits to be folded in."""
    found = []
    headings = re.findall(r"^## (.+)$", changelog, re.MULTILINE)
    if not headings or headings[0] != version:
        first = headings[0] if headings else "nothing"
        found.append(f"CHANGELOG.md begins with {first}, not with {version}: fold its changes first, with release:fold")
    elif not section_of(changelog, version):
        found.append(f"CHANGELOG.md says nothing about {version}: write what has changed")
    if fragments:
        found.append(f"changes/ still holds {len(fragments)} changes, {fragments[0]} say: fold them, with release:fold")
    return found


def wrong_fold(changelog: str, version: str, fragments: Sequence[str]) -> list[str]:
    """There is something to fold in, all of it will be, and the changelog does not have the version yet."""
    found = wrong_fragments(fragments)
    if not fragments:
        found.append("changes/ holds no change: describe what has changed in files such as +a-few-words.change.md")
    if section_of(changelog, version) is not None:
        found.append(f"CHANGELOG.md has a section {version} already: raise the version first, with `hatch version`")
    return found


def wrong_tree(status: str) -> list[str]:
    """Everything is committed: a tag names a commit, and what is built is built from the files."""
    changed = [line[3:] for line in status.splitlines()]
    return [f"{len(changed)} files are not committed, {changed[0]} say: commit them first"] if changed else []


def wrong_tag(tag: str, tags: Mapping[str, str], head: str) -> list[str]:
    """The tag is new, or it is on the commit that is checked out."""
    if tags.get(tag, head) == head:
        return []
    return [f"the tag {tag} is on another commit, {tags[tag]}: check that one out, or raise the version"]


def wrong_metadata(raw: bytes, package: str, version: str, pythons: Sequence[str]) -> list[str]:
    """The metadata of a wheel is valid, complete and says what is so.

    Args:
        raw: the file METADATA.
        package: the distribution without `camshaft-`.
        version: its version.
        pythons: the versions that its tests ran on, such as "3.11".
    """
    try:
        metadata = Metadata.from_email(raw, validate=True)
    except ExceptionGroup as errors:
        return [f"metadata: {error}" for error in errors.exceptions]
    named = {each for each in metadata.classifiers or [] if re.search(r":: 3\.\d+$", each)}
    expected = {f"Programming Language :: Python :: {each}" for each in pythons}
    relative = re.findall(r"\]\((?!https?://)([^)]+)\)", metadata.description or "")
    addresses = metadata.project_urls or {}
    placeholders = sorted(name for name, address in addresses.items() if PLACEHOLDER in address)
    checks = {
        f"the name is {metadata.name}": canonicalize_name(metadata.name) == f"camshaft-{package}",
        f"the version is {metadata.version}": str(metadata.version) == version,
        f"the license is {metadata.license_expression}": metadata.license_expression == "BSD-3-Clause",
        "the license file is missing": "LICENSE" in (metadata.license_files or []),
        f"the addresses are those of {sorted(addresses)}": set(addresses) == URLS,
        f"the addresses of {placeholders} are placeholders": not placeholders,
        "the description is no Markdown": (metadata.description_content_type or "").startswith("text/markdown"),
        "the description is empty": bool((metadata.description or "").strip()),
        f"the classifiers name {sorted(named)}": named == expected,
        f"the description links to {relative}, which an index does not have": not relative,
        "a classifier is unknown": set(metadata.classifiers or []) <= known_classifiers,
        f"it requires Python {metadata.requires_python}": str(metadata.requires_python) == f">={pythons[0]}",
    }  # fmt: skip
    return [f"metadata: {wrong}" for wrong, is_right in checks.items() if not is_right]


def names_of(lines: Iterable[str]) -> set[str]:
    """Return the public names in a record of them."""
    return {re.split(r"[(:]| = ", line.removeprefix("class "), maxsplit=1)[0].strip() for line in lines}


def vanished_names(before: Iterable[str], now: Iterable[str], section: str, *, is_patch: bool) -> list[str]:
    """A public name may only vanish with a minor version, and the changelog says so.

    Args:
        before: the record of the release before.
        now: the record of this one.
        section: what the changelog says about this one.
        is_patch: whether only the last part of the version has changed.
    """
    gone = sorted(names_of(before) - names_of(now))
    told = {word for code in re.findall(r"`([^`]+)`", section) for word in re.findall(r"\w+", code)}
    unsaid = [name for name in gone if name.rpartition(".")[2] not in told]
    found = [f"{name} is gone, and the changelog does not say so: name it there, between `...`" for name in unsaid]
    return found + [
        f"{name} is gone in a version that only mends: raise the minor version" for name in gone if is_patch
    ]


def tested_pythons(package: str) -> list[str]:
    """Return the Pythons that the tests of a distribution ran on: the table of the matrix has them."""
    table = tomllib.loads((KEPT.parent / "pythons.toml").read_text(encoding="utf-8"))
    return list(table["pythons"][package])


def earlier_wheels(package: str) -> dict[str, Path]:
    """Return the kept wheels of a distribution by version, the newest last."""
    found = {}
    for wheel in KEPT.glob("*.whl"):
        name, version, *_ = parse_wheel_filename(wheel.name)
        if name == f"camshaft-{package}":
            found[str(version)] = wheel
    return dict(sorted(found.items(), key=lambda item: Version(item[0])))


def api_before(package: str, folder: Path) -> list[str]:
    """Return the record of the newest kept wheel, unpacked into a folder beside the newest of the others."""
    for each in boundaries.PORTIONS:
        if wheels := earlier_wheels(each):
            with zipfile.ZipFile(list(wheels.values())[-1]) as archive:
                archive.extractall(folder)
    return public_api.api_of(package, (folder,))


def call(*command: str | Path) -> str:
    """Run a command in the root; end with its output if it fails."""
    done = subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}\nfailed with exit status {done.returncode}")
    return done.stdout


def version_of(package: str) -> str:
    """Return the version of the sources."""
    about = ROOT / "packages" / package / "src" / boundaries.PORTIONS[package].replace(".", "/") / "__about__.py"
    found = re.search(r'^__version__ = "(.+)"$', about.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        sys.exit(f'{about} must have a line __version__ = "1.2.3"; set it with `hatch version`')
    return found[1]


def fragments_of(package: str) -> list[str]:
    """Return the names of the changes that wait to be folded in."""
    names = (each.name for each in (ROOT / "packages" / package / "changes").glob("*"))
    return sorted(name for name in names if name != ".gitkeep")


def changelog_of(package: str) -> Path:
    """Return the changelog of a distribution."""
    changelog = ROOT / "packages" / package / "CHANGELOG.md"
    if not changelog.is_file():
        sys.exit(f"{changelog} is missing; `git checkout` it")
    return changelog


def check_archives(package: str, version: str, folder: Path) -> list[str]:
    """Build the archives into a folder; return what is wrong with their metadata, description and contents."""
    call(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT / "packages" / package)
    call(sys.executable, "-m", "twine", "check", "--strict", *sorted(folder.iterdir()))
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        raw = archive.read(next(name for name in names if name.endswith(".dist-info/METADATA")))
    required = BytesParser().parsebytes(raw).get_all("Requires-Dist", [])
    return [
        *wrong_metadata(raw, package, version, tested_pythons(package)),
        *boundaries.wrong_contents(package, names),
        *boundaries.wrong_dependencies(package, required),
    ]


def fold(package: str, version: str) -> str | None:
    """Make the changes of a package a section of its changelog; return what keeps them from that, None if nothing."""
    folder, changelog = ROOT / "packages" / package, changelog_of(package)
    found = wrong_version(version, earlier_wheels(package))
    found += wrong_fold(changelog.read_text(encoding="utf-8"), version, fragments_of(package))
    if found:
        return "\n".join([f"the changes of camshaft-{package} {version} cannot be folded:", *found])
    command = ("build", "--yes", "--config", "towncrier.toml", "--dir", folder, "--version", version)
    print(call(sys.executable, "-m", "towncrier", *command))
    changelog.write_text(with_air(changelog.read_text(encoding="utf-8")), encoding="utf-8")
    return None


def with_air(changelog: str) -> str:
    """Return a changelog with an empty line before each heading: towncrier leaves it out."""
    return re.sub(r"(?<!\n)\n## ", "\n\n## ", changelog)


def findings(package: str) -> list[str]:
    """Return everything that keeps a distribution from being released."""
    folder, version = ROOT / "packages" / package, version_of(package)
    changelog = changelog_of(package).read_text(encoding="utf-8")
    earlier, fragments = earlier_wheels(package), fragments_of(package)
    # The commit of a tag; one that has a message is an object of its own.
    commit = "%(if)%(*objectname)%(then)%(*objectname)%(else)%(objectname)%(end)"
    tags = dict(line.split() for line in call("git", "tag", f"--format=%(refname:short) {commit}").splitlines())
    found = wrong_version(version, earlier) + wrong_tree(call("git", "status", "--porcelain"))
    found += wrong_fragments(fragments) + wrong_changelog(changelog, version, fragments)
    found += wrong_tag(f"camshaft-{package}-v{version}", tags, call("git", "rev-parse", "HEAD").strip())
    with tempfile.TemporaryDirectory() as scratch:
        found += check_archives(package, version, Path(scratch))
    if earlier:
        is_patch = Version(version).release[:2] == Version(list(earlier)[-1]).release[:2]
        waiting = ((folder / "changes" / name).read_text(encoding="utf-8") for name in fragments)
        section = section_of(changelog, version) or "".join(waiting)
        with tempfile.TemporaryDirectory() as scratch:
            before = api_before(package, Path(scratch))
            found += vanished_names(before, public_api.api_of(package), section, is_patch=is_patch)
    differences = public_api.difference(package)
    return found + [f"{package}/api.txt is not up to date: {line}; call `hatch run api`" for line in differences]


def main() -> str | None:
    """Fold or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("fold", "check"))
    parser.add_argument("package", choices=tuple(boundaries.PORTIONS))
    options = parser.parse_args()
    version = version_of(options.package)
    if options.action == "fold":
        return fold(options.package, version)
    try:
        found = findings(options.package)
    except GriffeError as error:
        return f"the public names of camshaft-{options.package} cannot be read: {error}"
    if found:
        return "\n".join([f"camshaft-{options.package} {version} is not ready:", *found])
    print(f"camshaft-{options.package} {version} is ready: git tag camshaft-{options.package}-v{version}")
    return None


if __name__ == "__main__":
    sys.exit(main())
