"""`Recognizer`: photos in, answers out, from an index and the model that built it.

    with Recognizer("shop.index") as shop:
        answer = shop.recognize("photo.jpg", top=5)
    print(answer.verdict, [match.product_id for match in answer.matches])

Everything that asks an index goes through here: `itemrec query`, `itemrec demo`, and programs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from retrieval.calibration.gap import scales
from retrieval.calibration.sureness import DEFAULT, Limits
from retrieval.errors import ImageError, UsageError
from retrieval.images import pictures
from retrieval.index.manifest import Manifest
from retrieval.index.open import open_index
from retrieval.index.protocols import Index, VectorStore
from retrieval.index.refusals import RefusalPicture, named
from retrieval.models.bundle import Bundle
from retrieval.models.embedding import Embedded, EncoderPool, Refused, embed_pictures
from retrieval.models.installed import resolve_model
from retrieval.recognition.answer import Answer
from retrieval.recognition.conclusion import EmbeddedPhoto, Glance, Ranked, conclude, without_any
from retrieval.recognition.decision import beside_refusals
from retrieval.recognition.looker import Looker
from retrieval.recognition.opening import Opening
from retrieval.recognition.photo_source import PhotoSource, Seen, Source, look_at, named_photo, seen_whole
from retrieval.recognition.recognizer import (
    Filters,
    RefusedPhoto,
    calibration_in_force,
    parse_where,
    query_confidence,
    query_probability,
    query_threshold,
    search,
)
from retrieval.system.threads import default_threads, ordered_map
from retrieval.types import Apart, IndexedImage, JsonScalar, Recognition, Where, image_id

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retrieval.calibration.confidence import Confidence
    from retrieval.calibration.in_force import InForce
    from retrieval.detection.found import FoundItems
    from retrieval.detection.known import KnownPictures
    from retrieval.recognition.conclusion import ByProbability
    from retrieval.recognition.photo_source import Photo
    from retrieval.refusals import KnownRefusals
    from retrieval.verification.kept import PictureLook

CHUNK = 64
"""Photos that are embedded before the index is opened for them."""


class _State(NamedTuple):
    """A live generation and all that answering from it needs."""

    manifest: Manifest
    bundle: Bundle
    threshold: float
    confidence: Confidence | None
    probability: ByProbability | None
    in_force: InForce | None
    single: EncoderPool
    many: EncoderPool
    code_columns: tuple[str, ...]


class Recognizer:
    """Answers photos from an index. Thread-safe; a context manager.

    The index is read again at each call: what went live meanwhile answers, also when another model built it. An
    embedded index is open only while it is searched, so that other processes can use it in between.

    Attributes:
        location: where the index lies.
    """

    def __init__(
        self,
        index: str | Path = ".itemrec",
        *,
        model: str | Path | None = None,
        threshold: float | None = None,
        sure: float | None = None,
        in_catalog: float | None = None,
        threads: int | None = None,
        linger: float = 0.0,
        barcodes: bool | None = None,
        verify: bool | None = None,
    ) -> None:
        """Open an index for questions; its engine is opened when something is asked.

        Args:
            index: a directory, or the URL of a Qdrant server, ``http://HOST:6333/NAME``.
            model: an installed model's name or a bundle's path; by default the one that built the index.
            threshold: largest squared L2 distance that counts, in [0, 4]; by default the calibration decides, by
                probabilities where it has them for such a catalog, else by its threshold.
            sure: a match from this probability of being right on, in [0, 1]; 0.8 by default.
            in_catalog: else ambiguous, not unknown, from this probability of being in the catalog on; 0.5 by default.
            threads: threads that decode and embed; default one per core.
            linger: seconds that the engine of an embedded index stays open after a question, for the next one; other
                processes that wait for it get it at once all the same.
            barcodes: whether codes in photos are read and decide, see `retrieval.recognition.by_barcode`; by default
                where the catalog has a column of them (``gtin``, ``ean``, ``upc``, ``barcode``) and the extra
                ``barcode`` is installed.
            verify: look closer at close calls, and where a refusal is near; by default where the index has keypoints
                (``index(…, verify=True)``) and OpenCV is installed. True looks also where it has none yet, and makes
                them as they are needed.

        Raises:
            IndexNotFoundError: there is no index, or its first build is not complete.
            IndexDamagedError, ServerError: it cannot be read.
            ModelNotFoundError, BundleError: the model is not there, or is damaged.
            ModelMismatchError: the named model did not build the index.
            UsageError: the model has no calibrated threshold and none was given, or a number is out of range; or
                barcodes were asked for where the extra or the column is missing; or ``verify`` where OpenCV is.
        """
        if verify:
            from retrieval.verification.opencv import opencv

            opencv()
        self.location = str(index)
        self._model = str(model) if model is not None else None
        self._threshold = threshold
        self._limits = _limits(sure, in_catalog)
        self._threads = threads or default_threads()
        self._index = open_index(self.location)
        self._lock = threading.Lock()
        self._opening = Opening(self._index, linger=linger)
        self._barcodes = barcodes
        self._pictures: tuple[str, tuple[IndexedImage, ...] | None, KnownPictures] | None = None
        self._alone = threading.Lock()
        self._closed = False
        self._looker = (
            None if verify is False else Looker(self.location, on_demand=bool(verify), refusals=self._index.refusals)
        )
        self._refusals: tuple[tuple[str, str], KnownRefusals] | None = None
        self._state = self._open(self._live(), None)

    @property
    def model(self) -> Bundle:
        """The model in use."""
        return self._state.bundle

    @property
    def manifest(self) -> Manifest:
        """What the generation in use holds: its pictures and products, its catalog, its columns of metadata."""
        return self._state.manifest

    @property
    def threshold(self) -> float:
        """The largest squared L2 distance that counts."""
        return self._state.threshold

    @property
    def in_force(self) -> InForce | None:
        """Which calibration decides, and whether it fits this catalog; None where there is none."""
        return self._state.in_force

    @property
    def limits(self) -> Limits | None:
        """On the probabilities that verdicts follow; None where they follow the threshold."""
        return self._state.probability.limits if self._state.probability is not None else None

    def in_use(self) -> dict[str, Any] | None:
        """What decides, as ``itemrec.query/1`` has it under ``calibration``; None where a threshold alone was given."""
        found, limits = self.in_force, self.limits
        if found is None:
            return None
        return {
            "operating_point": found.calibration.chosen,
            "gallery": found.kind,
            "fits": found.fits,
            "why_not": found.why_not,
            "sure": limits.sure if limits else None,
            "in_catalog": limits.in_catalog if limits else None,
        }

    def recognize(
        self, photo: Photo | PhotoSource, *, top: int = 5, where: Filters | None = None, name: str | None = None
    ) -> Answer:
        """Which product is in a photo, how sure, or none of the catalog's.

        Args:
            photo: a file's path, the bytes of a file, a Pillow image, or RGB pixels (uint8, shape (height, width,
                3)).
            top: how many products to return at most, at least 1.
            where: keep only products with this metadata: ``{"category": "Milk"}``, several values of a key as a
                list, or terms as the command line takes them, ``["category=Milk"]``.
            name: what the answer calls the photo; by default its path.

        Returns:
            The verdict (``match``, ``ambiguous`` or ``unknown``) and the products, best first.

        Raises:
            ImageError: the photo cannot be read; its ``reason`` says why.
            UsageError: ``top`` is below 1, or ``where`` names no column of the catalog.
            EncoderError: the network failed.
            IndexNotFoundError, IndexBusyError, IndexDamagedError, ServerError: the index cannot be searched.
        """
        source = named_photo(photo, name, keep=True)
        # Whoever asks alone gets every core for the network; who asks beside others, one.
        alone = self._alone.acquire(blocking=False)
        try:
            (result,), _ = self._answers([source], self._current(), top, where, alone=alone)
        finally:
            if alone:
                self._alone.release()
        if isinstance(result, RefusedPhoto):
            raise result.error
        return result

    def recognize_same(
        self, photos: Iterable[Photo | PhotoSource], *, top: int = 5, where: Filters | None = None
    ) -> Answer:
        """Which product is in several photos of one item: one answer, from the mean of their vectors.

        Two photos of an item are right more often than one, three again; see `retrieval.recognition.same`.

        Args:
            photos: as in `recognize`, at least one; of the same item, from other sides or in other light.
            top: see `recognize`.
            where: see `recognize`.

        Returns:
            The answer. Its ``photos`` names them; ``apart`` has those that can hardly show one item.

        Raises:
            ImageError: one of them cannot be read.
            UsageError: there are none; or as `recognize`, as the other errors.
        """
        sources = [named_photo(photo) for photo in photos]
        if not sources:
            raise UsageError("expected photos of one item, received none", hint="recognize_same(['a.jpg', 'b.jpg'])")
        (result,), _ = self._answers(sources, self._current(), top, where, alone=len(sources) == 1, same=True)
        if isinstance(result, RefusedPhoto):
            raise result.error
        return result

    def recognize_all(
        self, photos: Iterable[Photo | PhotoSource], *, top: int = 5, where: Filters | None = None
    ) -> Iterator[Answer | RefusedPhoto]:
        """Recognize many photos: in order, in threads, and those that cannot be read as values.

        All of them are answered from the generation that is live now, for as long as the index keeps it.

        Args:
            photos: as in `recognize`; read as they are needed.
            top: see `recognize`.
            where: see `recognize`.

        Yields:
            For each photo its answer, or why it was refused.

        Raises:
            UsageError, EncoderError, IndexNotFoundError, IndexBusyError, IndexDamagedError, ServerError: as
                `recognize`.
        """
        alone = isinstance(photos, Sized) and len(photos) == 1
        source = iter(photos)
        state = self._current()
        while chunk := [named_photo(photo) for photo in islice(source, CHUNK)]:
            results, state = self._answers(chunk, state, top, where, alone=alone)
            yield from results

    def find(self, photo: Photo | PhotoSource, *, where: Filters | None = None, name: str | None = None) -> FoundItems:
        """Every item of the catalog in a photo, a shelf for example, with its place.

        Printed packages are found, by points of the catalog's pictures (extra: verify): the pictures must still lie in
        the catalog's folder. See `retrieval.recognition.many`.

        Args:
            photo: as in `recognize`.
            where: see `recognize`; other products are not looked for.
            name: see `recognize`.

        Raises:
            ImageError: the photo cannot be read.
            UsageError: the extra is not installed, or ``where`` names no column of the catalog.
            EncoderError, IndexNotFoundError, IndexBusyError, IndexDamagedError, ServerError: as `recognize`.
        """
        from retrieval.detection.known import KnownPictures
        from retrieval.recognition.many import PHOTO_SIDE, find_items
        from retrieval.verification.opencv import opencv

        opencv("finding many items in a photo")
        source, state = named_photo(photo, name), self._current()
        filters = parse_where(where or (), state.manifest)
        data = source.photo() if callable(source.photo) else source.photo
        seen = (
            pictures.thumbnail(data, PHOTO_SIDE)
            if isinstance(data, bytes)
            else pictures.thumbnail_decoded(data, PHOTO_SIDE)
        )
        with self._lock:
            if self._pictures is None or self._pictures[0] != state.manifest.created:
                known = self._pictures[2] if self._pictures is not None else KnownPictures(self._index.location)
                self._pictures = (state.manifest.created, None, known)
            created, records, known = self._pictures
        if records is None:
            with self._opening.reader(state.manifest) as (store, _):
                records = tuple(store.records())
            with self._lock:
                self._pictures = (created, records, known)

        def ask(question: Callable[[VectorStore], None]) -> None:
            with self._opening.reader(state.manifest) as (store, _):
                question(store)

        def embed(crops: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
            sources = [Source(str(number), crop) for number, crop in enumerate(crops)]
            look = partial(look_at, state.bundle, False)
            results = embed_pictures(sources, state.bundle, look, threads=self._threads, encoders=state.many)
            return [r.vector for r in results if isinstance(r, Embedded) and r.vector is not None]

        return find_items(
            source.name,
            np.array(seen, dtype=np.uint8),
            pictures.longer_side(data) / max(seen.size),
            records,
            ask,
            embed,
            self.recognize,
            known,
            state.manifest.catalog,
            where=filters,
            threads=self._threads,
        )

    def refuse(self, photo: Photo | PhotoSource, *, note: str = "", name: str | None = None) -> RefusalPicture:
        """Keep a photo of something that is none of the catalog's: what looks like it is *unknown* from now on.

        It is kept beside the index and survives new generations and other models. The same photo again is the same
        refusal and gets the new note.

        Args:
            photo: as in `recognize`.
            note: what it shows, or why it is refused; an answer that it refuses says so.
            name: what the refusal is called; by default the file's name.

        Raises:
            ImageError: the photo cannot be read.
            EncoderError, IndexNotFoundError, IndexBusyError, IndexDamagedError, ServerError: as `recognize`.
        """
        from retrieval.refusals import refuse

        source = named_photo(photo, name, keep=True)
        state = self._current()
        assert source.again is not None
        return refuse(self._index.refusals, state.bundle, source.name, source.again(), note=note, encoders=state.single)

    def refusals(self) -> list[RefusalPicture]:
        """The pictures that are none of the catalog's, oldest first; `refuse` adds to them.

        Raises:
            IndexBusyError, IndexDamagedError, ServerError: they cannot be read.
        """
        return self._index.refusals.read()

    def remove_refusals(self, *words: str) -> list[RefusalPicture]:
        """Forget refused pictures; photos are answered as if they had never been added.

        Args:
            words: each the id of one, the beginning of its id, or its name.

        Returns:
            What was removed.

        Raises:
            UsageError: a word names none or several; then nothing is removed.
            IndexBusyError, IndexDamagedError, ServerError: they cannot be changed.
        """
        gone = named(self.refusals(), words)
        self._index.refusals.remove([refusal.refusal_id for refusal in gone])
        return gone

    def kept_look(self, product_id: str, image: str) -> PictureLook | None:
        """A small catalog picture with its keypoints, as `index` with ``verify`` kept it; None where it did not.

        Args:
            product_id: the product that it shows.
            image: its path, as an answer has it.
        """
        return None if self._looker is None else self._looker.kept(image_id(product_id, image))

    def kept_refused_look(self, refusal_id: str) -> PictureLook | None:
        """A small refused picture with its keypoints, as it is kept once it was looked for; None where it is not.

        Args:
            refusal_id: its id, as an answer has it.
        """
        return None if self._looker is None else self._looker.kept(refusal_id)

    def close(self) -> None:
        """Let go of the model and of the connection. Asking again is an error."""
        with self._lock:
            self._closed = True
            self._opening.close()
            closing = getattr(self._index, "close", None)
            if closing is not None:
                closing()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def values(self, column: str, *, limit: int = 20) -> list[tuple[JsonScalar, int]]:
        """The commonest values of a metadata column, each with the number of pictures that carry it.

        Args:
            column: one of ``manifest.metadata_keys``.
            limit: how many values at most.

        Raises:
            IndexNotFoundError, IndexBusyError, IndexDamagedError, ServerError: the index cannot be read.
        """
        with self._opening.reader(self._current().manifest) as (store, _):
            return store.values(column, limit=limit)

    def live(self) -> Manifest:
        """What the generation that is live now holds.

        Raises:
            IndexNotFoundError, IndexDamagedError, ServerError: the index cannot be read.
        """
        return self._current().manifest

    def update(self, change: Callable[[Index, Bundle, Manifest], Manifest]) -> Manifest:
        """Change the index with the model in use, and answer from the result.

        Args:
            change: given the index, the model and what is live; returns what is live then.

        Raises:
            IndexBusyError: somebody is writing.
            StoreError: see ``change``.
        """
        state = self._current()
        change(self._index, state.bundle, state.manifest)
        return self._current().manifest

    def records(self) -> list[IndexedImage]:
        """What the live generation knows of each of its pictures, without vectors.

        Raises:
            IndexNotFoundError, IndexBusyError, IndexDamagedError, ServerError: the index cannot be read.
        """
        with self._opening.reader(self._current().manifest) as (store, _):
            return list(store.records())

    def finds_itself(self, near: float) -> bool:
        """True when a picture of the index is found by its own vector; also for an index without pictures.

        Args:
            near: squared L2 distance at most.

        Raises:
            IndexNotFoundError, IndexBusyError, IndexDamagedError, ServerError: the index cannot be read.
        """
        with self._opening.reader(self._current().manifest) as (store, _):
            sample = store.sample(1)
            return not sample or bool(store.search(sample[0].vector, limit=1, max_distance=near))

    def _answers(
        self,
        sources: Sequence[Source],
        state: _State,
        top: int,
        where: Filters | None,
        *,
        alone: bool,
        same: bool = False,
    ) -> tuple[list[Answer | RefusedPhoto], _State]:
        """Answer some photos, or all of one item together, and the state that they were answered from."""
        if top < 1:
            raise UsageError(f"expected at least 1 product to show, received {top}", hint="Leave it out for 5.")
        while True:
            filters = parse_where(where or (), state.manifest)
            seen = list(
                embed_pictures(
                    sources,
                    state.bundle,
                    partial(look_at, state.bundle, bool(state.code_columns)),
                    threads=self._threads,
                    encoders=state.single if alone else state.many,
                )
            )
            refused = self._known_refusals(state)
            with self._opening.reader(state.manifest) as (store, found):
                if found.model.fingerprint == state.bundle.fingerprint:
                    ranked = (
                        [self._rank_same(seen, store, state, refused, top, filters)]
                        if same
                        else [self._rank(result, store, state, refused, top, filters) for result in seen]
                    )
                    break
            # This generation is gone, and the live one is another model's: embed these photos again, with that one.
            state = self._current()
        # Whoever waits for the index has it by now: looking closer takes longer than searching.
        looker = self._looker if self._looker is not None and self._looker.ready() else None
        answer = partial(self._conclude, state=state, top=top, looker=looker)
        if looker is None or len(ranked) == 1:
            return [answer(one) for one in ranked], state
        return list(ordered_map(answer, ranked, self._threads)), state

    def _conclude(
        self, found: _Found | RefusedPhoto, *, state: _State, top: int, looker: Looker | None
    ) -> Answer | RefusedPhoto:
        if isinstance(found, RefusedPhoto):
            return found
        catalog = state.manifest.catalog
        photos = [(source.name, partial(seen_whole, source)) for source in found.sources]
        glance = None if looker is None else partial(looker.look, photos=photos, catalog=catalog)
        answer = found.decided or _concluded(found, state, top, glance)
        if found.codes_ms is not None:
            answer = replace(answer, timings_ms={**answer.timings_ms, "barcodes": found.codes_ms})
        looked_at = {sighting.photo for sighting in answer.closer_look.seen} if answer.closer_look is not None else {""}
        shown = next((source for source in found.sources if source.name in looked_at), found.sources[0])
        return Answer.of(answer, catalog, shown.again)

    def _rank(
        self,
        result: _Result,
        store: VectorStore,
        state: _State,
        refused: KnownRefusals | None,
        top: int,
        where: Where | None,
    ) -> _Found | RefusedPhoto:
        source = result.item
        if isinstance(result, Refused):
            if isinstance(result.error, ImageError):
                return RefusedPhoto(source.name, result.error)
            raise result.error
        assert result.vector is not None
        found = search(
            EmbeddedPhoto(source.name, result.vector, result.facts.decode_ms, result.embed_ms),
            store,
            threshold=state.threshold,
            top=top,
            where=where,
            probability=state.probability,
            refusal=refused.nearest(result.vector) if refused is not None else None,
            part=beside_refusals(state.manifest.studio),
            scales=scales(state.manifest.studio, state.manifest.gap),
        )
        ranked = _Found(found, (source,), blanks=(source.name,) if result.facts.blank else (), blank=result.facts.blank)
        return _with_codes(ranked, [(source.name, result.facts)], state, store, top, where)

    def _rank_same(
        self,
        results: Sequence[_Result],
        store: VectorStore,
        state: _State,
        refused: KnownRefusals | None,
        top: int,
        where: Where | None,
    ) -> _Found | RefusedPhoto:
        from retrieval.recognition import same

        photos: list[Embedded[Source, Seen]] = []
        for result in results:
            if isinstance(result, Refused):
                if isinstance(result.error, ImageError):
                    return RefusedPhoto(result.item.name, result.error)
                raise result.error
            photos.append(result)
        # One that shows nothing says nothing of the item.
        telling = [photo for photo in photos if not photo.facts.blank]
        vectors = np.stack([photo.vector for photo in telling or photos if photo.vector is not None])
        names = tuple(photo.item.name for photo in photos)
        blanks = tuple(photo.item.name for photo in photos if photo.facts.blank)
        vector, length = same.one_vector(vectors)
        found = search(
            EmbeddedPhoto(
                same.together(names),
                vector,
                sum(photo.facts.decode_ms for photo in photos),
                sum(photo.embed_ms for photo in photos),
            ),
            store,
            threshold=state.threshold,
            length=length,
            top=top,
            where=where,
            probability=state.probability,
            refusal=refused.nearest(vector) if refused is not None else None,
            part=beside_refusals(state.manifest.studio),
            scales=scales(state.manifest.studio, state.manifest.gap),
        )
        limit = same.farthest(state.bundle.calibration)
        seen = [(photo.item.name, photo.facts) for photo in photos]
        apart = same.apart(vectors, [photo.item.name for photo in telling or photos], limit)
        ranked = _Found(
            found, tuple(photo.item for photo in telling or photos), names, apart, blanks, blank=not telling
        )
        return _with_codes(ranked, seen, state, store, top, where)

    def _known_refusals(self, state: _State) -> KnownRefusals | None:
        """The refusals as this model sees them; None where there are none, which costs next to nothing."""
        version = self._index.refusals.version()
        if not version:
            return None
        key = (version, state.bundle.fingerprint)
        with self._lock:
            held = self._refusals
        if held is None or held[0] != key:
            from retrieval.refusals import KnownRefusals

            held = (key, KnownRefusals.load(self._index.refusals, state.bundle, encoders=state.many))
            with self._lock:
                self._refusals = held
        return held[1]

    def _current(self) -> _State:
        """The state for the generation that is live now."""
        with self._lock:
            if self._closed:
                raise UsageError("expected an open recognizer, received one that was closed", hint="Make another one.")
            live = self._live()
            if live != self._state.manifest:
                self._state = self._open(live, self._state)
            return self._state

    def _live(self) -> Manifest:
        manifest = self._index.manifest()
        if manifest is None:
            # Opening it raises the error that fits: no index here, or one that is still being built.
            with self._index.reader() as (_, manifest):
                pass
        return manifest

    def _open(self, manifest: Manifest, before: _State | None) -> _State:
        if before is not None and before.bundle.fingerprint == manifest.model.fingerprint:
            bundle, single, many = before.bundle, before.single, before.many
        else:
            bundle = resolve_model(self._model, index_model=manifest.model)
            single, many = EncoderPool(bundle, threads=self._threads), EncoderPool(bundle)
        manifest.require(bundle.identity, self.location)
        columns: tuple[str, ...] = ()
        if self._barcodes or (self._barcodes is None and manifest.metadata_keys):
            from retrieval.recognition.by_barcode import wanted_columns

            columns = wanted_columns(manifest, required=self._barcodes is not None)
        found = calibration_in_force(bundle, manifest)
        if self._threshold is not None or found is None:
            threshold = query_threshold(self._threshold, bundle)
            confidence = query_confidence(threshold, bundle)
            return _State(manifest, bundle, threshold, confidence, None, found, single, many, columns)
        threshold, probability = found.calibration.threshold, query_probability(found, manifest, self._limits)
        confidence = query_confidence(threshold, bundle) if probability is None else None
        return _State(manifest, bundle, threshold, confidence, probability, found, single, many, columns)


def _limits(sure: float | None, in_catalog: float | None) -> Limits:
    try:
        return Limits(DEFAULT.sure if sure is None else sure, DEFAULT.in_catalog if in_catalog is None else in_catalog)
    except ValueError as error:
        raise UsageError(str(error), hint="80 % is 0.8.") from error


_Result = Embedded[Source, Seen] | Refused[Source]


class _Found(NamedTuple):
    """What was found for one answer."""

    ranked: Ranked
    sources: tuple[Source, ...]
    """The photo that is looked at closer, or all of one item."""
    photos: tuple[str, ...] = ()
    apart: tuple[Apart, ...] = ()
    blanks: tuple[str, ...] = ()
    """Those of the photos that show nothing."""
    blank: bool = False
    """Whether none shows anything."""
    codes_ms: float | None = None
    decided: Recognition | None = None
    """The answer where barcodes decided it."""


def _with_codes(
    found: _Found,
    seen: Sequence[tuple[str, Seen]],
    state: _State,
    store: VectorStore,
    top: int,
    where: Where | None,
) -> _Found:
    """What was found, decided by the barcodes in its photos where there are some: nobody looks closer then."""
    if not state.code_columns:
        return found
    several = len(seen) > 1
    codes = {code.gtin: replace(code, photo=name) if several else code for name, facts in seen for code in facts.codes}
    took = round(sum(facts.codes_ms or 0.0 for _, facts in seen), 3)
    if not codes:
        return found._replace(codes_ms=took)
    from retrieval.recognition.by_barcode import with_codes

    alone = _concluded(found, state, top)
    vector = found.ranked.photo.vector
    decided = with_codes(alone, tuple(codes.values()), state.code_columns, store, vector, where=where)
    return found._replace(codes_ms=took, decided=decided)


def _concluded(found: _Found, state: _State, top: int, glance: Glance | None = None) -> Recognition:
    """The answer that the picture alone gives."""
    confidence = state.confidence if found.ranked.length >= 1.0 else None
    look = None if found.blank else glance
    answer = conclude(found.ranked, top=top, fingerprint=state.bundle.fingerprint, confidence=confidence, glance=look)
    if found.blank:
        answer = without_any(answer)
    return replace(answer, photos=found.photos, apart=found.apart, blanks=found.blanks)
