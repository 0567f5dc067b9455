"""The hooks before a commit are the parts of `make check`, all of them."""

import re

import yaml

from tests.places import ROOT


def test_the_hooks_are_the_parts_of_make_check() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(r"^check: .*\n\t(.*)$", makefile, flags=re.MULTILINE)
    assert recipe is not None
    parts = re.findall(r"check-[a-z]+", recipe[1])
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    (local,) = config["repos"]
    assert local["repo"] == "local"
    assert [hook["entry"] for hook in local["hooks"]] == [f"make {part}" for part in parts]
    for part in parts:
        assert re.search(rf"^{part}: ", makefile, flags=re.MULTILINE)
