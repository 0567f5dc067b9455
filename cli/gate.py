"""What a new generation must hold on photos of one's own before it goes live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cli import render
from cli.options import setting
from retrieval.errors import CheckFailedError, UsageError

if TYPE_CHECKING:
    from retrieval.evaluation.requirements import Requirement
    from retrieval.index.manifest import Manifest
    from retrieval.index.protocols import Check, VectorStore
    from retrieval.models.bundle import Bundle


@dataclass(frozen=True, slots=True)
class Gate:
    """Requirements, as `itemrec evaluate --require` reads them, and the photos that they are measured on."""

    requirements: tuple[Requirement, ...]
    dataset: Path
    split: str

    @classmethod
    def of(cls, requirements: Sequence[str], dataset: str | Path | None, split: str) -> Self | None:
        """The gate that the options describe; None without a requirement.

        Raises:
            UsageError: a requirement cannot be read, or there are no photos to measure it on.
        """
        if not requirements:
            return None
        from retrieval.evaluation import split_folder
        from retrieval.evaluation.requirements import parse_requirement

        if dataset is None:
            raise UsageError(
                "expected photos to measure --require on, received neither --data nor data in itemrec.toml",
                hint="Name a folder with train/, val/ and test/: --data DIR",
            )
        split_folder(Path(dataset), split)
        return cls(tuple(parse_requirement(text) for text in requirements), Path(dataset), split)

    def check(self, bundle: Bundle) -> Check:
        """Measures a generation before it goes live.

        Args:
            bundle: the model that made it.

        Raises (when called):
            CheckFailedError: a requirement does not hold.
        """
        from retrieval.evaluation import Setting, evaluate, gather_folder, gather_store, split_folder
        from retrieval.evaluation.requirements import check
        from retrieval.evaluation.thresholds import require_threshold

        threshold = setting("threshold", None)
        require_threshold(threshold, bundle.calibration)

        def run(store: VectorStore, manifest: Manifest) -> None:
            render.say(f"Measuring generation {manifest.generation} on {self.split} …")
            document = evaluate(
                gather_folder(split_folder(self.dataset, self.split), bundle),
                gather_store(store, manifest),
                Setting(
                    split=self.split,
                    data=str(self.dataset),
                    gallery_source="index",
                    gallery_location=f"generation {manifest.generation}",
                    model=bundle.identity,
                    calibration=bundle.calibration,
                    threshold=threshold,
                ),
            )
            verdicts = check(self.requirements, document)
            for verdict in verdicts:
                (render.say if verdict.passed else render.complain)(
                    f"{'passed' if verdict.passed else 'failed'}: {verdict.line()}"
                )
            failed = [verdict.line() for verdict in verdicts if not verdict.passed]
            if failed:
                raise CheckFailedError(
                    f"expected generation {manifest.generation} to pass its gate, received: {'; '.join(failed)}",
                    hint="The generation before stays live. The same command without --require goes live all the same.",
                )

        return run
