"""What a new generation must hold on photos of one's own before it goes live."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from retrieval.errors import CheckFailedError, UsageError
from retrieval.evaluation.evaluate import Setting, evaluate
from retrieval.evaluation.gather import gather_folder, gather_store, split_folder
from retrieval.evaluation.requirements import Checked, Requirement, check, parse_requirement
from retrieval.evaluation.thresholds import require_threshold
from retrieval.index.manifest import Manifest
from retrieval.index.protocols import Check, VectorStore
from retrieval.models.bundle import Bundle
from retrieval.system.progress import Progress, Silent


@dataclass(frozen=True, slots=True)
class Gate:
    """Requirements, as `itemrec evaluate --require` reads them, and the photos that they are measured on.

    Attributes:
        requirements: all of them must hold.
        dataset: a folder with train/, val/ and test/.
        split: which of its photos.
        threshold: squared L2; None takes the model's calibration.
    """

    requirements: tuple[Requirement, ...]
    dataset: Path
    split: str
    threshold: float | None = None

    @classmethod
    def of(
        cls,
        requirements: Sequence[str],
        dataset: str | Path | None,
        split: str = "test",
        *,
        threshold: float | None = None,
    ) -> Self:
        """The gate that these describe.

        Raises:
            UsageError: a requirement cannot be read, or there are no photos to measure it on.
        """
        if dataset is None:
            raise UsageError(
                "expected photos to measure --require on, received neither --data nor data in itemrec.toml",
                hint="Name a folder with train/, val/ and test/: --data DIR",
            )
        split_folder(Path(dataset), split)
        return cls(tuple(parse_requirement(text) for text in requirements), Path(dataset), split, threshold)

    def check(
        self,
        bundle: Bundle,
        *,
        found: Callable[[Checked], None] = lambda checked: None,
        progress: Progress = Silent(),
    ) -> Check:
        """Measures a generation before it goes live.

        Args:
            bundle: the model that made it.
            found: told what became of each requirement.
            progress: told how far it is.

        Raises:
            UsageError: there is no threshold to measure at.
            CheckFailedError: (when called) a requirement does not hold.
        """
        require_threshold(self.threshold, bundle.calibration, model=bundle.name)

        def run(store: VectorStore, manifest: Manifest) -> None:
            photos = gather_folder(
                split_folder(self.dataset, self.split),
                bundle,
                progress=progress,
                stage=f"Measuring generation {manifest.generation} on {self.split}",
            )
            document = evaluate(
                photos,
                gather_store(store, manifest),
                Setting(
                    split=self.split,
                    data=str(self.dataset),
                    gallery_source="index",
                    gallery_location=f"generation {manifest.generation}",
                    model=bundle.identity,
                    calibration=bundle.calibration,
                    threshold=self.threshold,
                ),
            )
            results = check(self.requirements, document)
            for result in results:
                found(result)
            failed = [result.line() for result in results if not result.passed]
            if failed:
                raise CheckFailedError(
                    f"expected generation {manifest.generation} to pass its gate, received: {'; '.join(failed)}",
                    hint="The generation before stays live. The same command without --require goes live all the same.",
                )

        return run
