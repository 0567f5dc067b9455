"""The HTTP application: routes, limits and errors. What answers lies in `retrieval.recognition`.

    app = create_app(Settings(index="shop.index"))

Run it with any ASGI server; `itemrec serve` runs it with uvicorn.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from retrieval.errors import ItemrecError
from retrieval.index.manifest import Manifest
from retrieval.recognition.answer import Answer, query_document
from retrieval.recognition.api import PhotoSource, Recognizer
from retrieval.recognition.recognizer import RefusedPhoto, parse_where
from retrieval.service import examples
from retrieval.service.access import Access, Key, Role, TooMany
from retrieval.service.jobs import Teaching
from retrieval.service.observed import CONTENT_TYPE, Observed
from retrieval.service.problems import Problem
from retrieval.service.product_list import IndexedProduct, ProductList
from retrieval.service.shown import ShownPictures
from retrieval.service.turns import Turns
from retrieval.service.uploads import Upload, read_photo, read_photos
from retrieval.system.text import printable
from retrieval.system.threads import default_threads
from retrieval.system.version import release
from retrieval.types import Compare
from retrieval.types import Where as Filters

PAGE = Path(__file__).with_name("page")
LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]", "testserver")
"""Names under which a service without keys answers: no page of elsewhere reaches it by a name of its own."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; manifest-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
_SAFE = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PAGE_FILES = {
    "index.html": "text/html; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_MOST_PRODUCTS = 200
_LONGEST_NAME = 200
_LINGER = 1.0
_SEND_KEY = "Send it as: Authorization: Bearer irk.…"
_READY_SECONDS = 5.0
_NEAR = 1e-3


@dataclass(frozen=True, slots=True)
class Settings:
    """How a service runs.

    Attributes:
        index: a directory or the URL of a server, as in `Recognizer`.
        model: see `Recognizer`.
        threshold: see `Recognizer`, as the two that follow.
        sure: a match from this probability of being right on.
        in_catalog: else ambiguous from this probability of being in the catalog on.
        keys: a file of keys; None asks for none.
        page: also serve the page.
        threads: photos answered at once.
        waiting: requests that may wait beside them.
        seconds: how long a request may take.
        hosts: names that the service answers to; empty for any.
        origins: pages of elsewhere that may ask; none unless named.
    """

    index: str = ".itemrec"
    model: str | None = None
    threshold: float | None = None
    sure: float | None = None
    in_catalog: float | None = None
    keys: Path | None = None
    page: bool = True
    threads: int = 0
    waiting: int = 32
    seconds: float = 30.0
    hosts: Sequence[str] = LOCAL_HOSTS
    origins: Sequence[str] = ()


Top = Annotated[int, Query(ge=1, le=1000, description="Products to return at most.")]
Where = Annotated[
    list[str] | None,
    Query(description="Only products with this metadata: category=Milk, 'price<5', 'note?'; may be repeated."),
]


def create_app(settings: Settings) -> FastAPI:
    """The application. Opens the index and the model at once, so that what is wrong is said at the start.

    Raises:
        ItemrecError: as `Recognizer` and `Access` raise.
    """
    service = _Service(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.turns.run(service.teaching.catch_up)
        yield
        service.close()

    app = FastAPI(
        title="itemrec",
        version=release(),
        summary="Which product is in this photo, how sure, or none of ours?",
        lifespan=lifespan,
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    app.state.service = service
    _errors(app, service)
    if settings.hosts:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(settings.hosts), www_redirect=False)
    if settings.origins:
        from starlette.middleware.cors import CORSMiddleware

        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
        )

    @app.middleware("http")
    async def around(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        return await service.around(request, call_next)

    @app.post("/v1/recognize", **examples.RECOGNIZE)
    async def recognize(
        request: Request,
        top: Top = 5,
        where: Where = None,
        same: Annotated[bool, Query(description="The photos show one item: one answer for all.")] = False,
    ) -> JSONResponse:
        """Which product is in each photo, how sure, or none of the catalog's.

        The body is an image, or a form with 1 to 16 photos in fields named `photo`. The answer is the document of
        `itemrec query --json`, and beside each picture a link to show it with.
        """
        key = await service.allowed(request, "recognize")
        uploads = await service.turns.receive(read_photos(request))
        return JSONResponse(
            await service.turns.run(partial(service.recognize, uploads, top, where or [], key, same=same))
        )

    @app.get("/v1/products", **examples.PRODUCTS)
    async def products(
        request: Request,
        q: Annotated[str, Query(max_length=200, description="Words of the id or the name.")] = "",
        limit: Annotated[int, Query(ge=1, le=_MOST_PRODUCTS)] = 50,
        after: Annotated[int, Query(ge=0, le=10_000_000, description="How many to leave out before.")] = 0,
    ) -> JSONResponse:
        """The products of the index, searched by words of id and name."""
        service.everything(await service.allowed(request, "recognize"))
        return JSONResponse(await service.turns.run(partial(service.products_found, q, limit, after)))

    @app.get("/v1/products/{product_id:path}", **examples.PRODUCT)
    async def product(request: Request, product_id: str) -> JSONResponse:
        """One product: what its table says, and links to its pictures."""
        service.everything(await service.allowed(request, "recognize"))
        return JSONResponse(await service.turns.run(partial(service.product, product_id)))

    @app.post("/v1/products/{product_id}/pictures", status_code=202, **examples.TEACH)
    async def teach(
        request: Request,
        product_id: str,
        new: Annotated[bool, Query(description="Make the product; else it must exist.")] = False,
        name: Annotated[str, Query(max_length=200, description="What a new product is called.")] = "",
    ) -> JSONResponse:
        """Make a photo a picture of a product: it is in the catalog's folder when this answers, and found soon after.

        The body is as in `/v1/recognize`, with one photo. `GET /v1/jobs/{id}` says when it is findable.
        """
        await service.allowed(request, "teach")
        upload = await service.turns.receive(read_photo(request))
        work = partial(service.teaching.teach, upload.data, product_id, name=name, new=new)
        return JSONResponse((await service.turns.run(work)).to_json(), 202)

    @app.delete("/v1/products/{product_id}/pictures/{image:path}", status_code=202, **examples.FORGET)
    async def forget(request: Request, product_id: str, image: str) -> JSONResponse:
        """Take a taught picture back. Pictures that the catalog came with are refused."""
        await service.allowed(request, "teach")
        work = partial(service.teaching.forget, product_id, image)
        return JSONResponse((await service.turns.run(work)).to_json(), 202)

    @app.post("/v1/refusals", status_code=201, **examples.REFUSE)
    async def refuse(
        request: Request,
        note: Annotated[str, Query(max_length=200, description="What it shows; answers that it refuses say so.")] = "",
    ) -> JSONResponse:
        """Keep a photo of what is none of the catalog's: what looks like it is unknown from now on."""
        await service.allowed(request, "teach")
        upload = await service.turns.receive(read_photo(request))
        return JSONResponse(await service.turns.run(partial(service.refuse, upload, note)), 201)

    @app.get("/v1/refusals", **examples.REFUSALS)
    async def refusals(request: Request) -> JSONResponse:
        """The photos of what is none of the catalog's, oldest first."""
        await service.allowed(request, "teach")
        return JSONResponse(await service.turns.run(service.refusals))

    @app.delete("/v1/refusals/{refusal_id}", **examples.REFUSALS)
    async def unrefuse(request: Request, refusal_id: str) -> JSONResponse:
        """Take a refusal back."""
        await service.allowed(request, "teach")
        return JSONResponse(await service.turns.run(partial(service.unrefuse, refusal_id)))

    @app.get("/v1/jobs/{job}", **examples.JOB)
    async def job(request: Request, job: str) -> JSONResponse:
        """How far something that was taught is on its way into the index."""
        await service.allowed(request, "teach")
        return JSONResponse(service.teaching.job(job).to_json())

    @app.get("/v1/pictures/{image:path}", response_class=Response)
    async def picture(
        request: Request,
        image: str,
        sig: Annotated[str, Query(max_length=64, description="As the answer's link has it.")] = "",
        size: Annotated[int, Query(ge=1, le=768, description="Longer side, pixels.")] = 192,
    ) -> Response:
        """A catalog picture as a small JPEG without metadata. Its link comes with an answer, and needs no key."""
        data, tag = await service.turns.run(partial(service.picture, image, sig, size))
        headers = {"ETag": tag, "Cache-Control": "private, max-age=3600"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(data, media_type="image/jpeg", headers=headers)

    @app.get("/v1/status")
    async def status(request: Request) -> JSONResponse:
        """What is served: pictures, products, model, columns; what this key may do."""
        key = await service.allowed(request, "recognize")
        return JSONResponse(await service.turns.run(partial(service.status, key)))

    @app.get("/healthz")
    async def healthz() -> JSONResponse:
        """The process answers."""
        return JSONResponse({"status": "ok"})

    @app.get("/readyz", responses={503: {"description": "It cannot answer photos now."}})
    async def readyz() -> JSONResponse:
        """The index is open, its model is the one in use, and a picture of the catalog finds itself."""
        await service.turns.run(service.ready)
        return JSONResponse({"status": "ready"})

    @app.get("/metrics", response_class=Response)
    async def metrics(request: Request) -> Response:
        """Counters and histograms as Prometheus reads them."""
        if not service.access.open:
            await service.allowed(request, "recognize")
        service.observed.busy(service.turns.running)
        return Response(service.observed.text(), media_type=CONTENT_TYPE)

    if settings.page:
        for name, kind in _PAGE_FILES.items():
            app.add_api_route(
                "/" if name == "index.html" else f"/{name}", _page_file(name, kind), include_in_schema=False
            )
    return app


def _page_file(name: str, kind: str) -> Callable[[], Awaitable[FileResponse]]:
    async def file() -> FileResponse:
        return FileResponse(PAGE / name, media_type=kind, headers={"Cache-Control": "no-cache"})

    return file


class _Service:
    """What the routes share. Its methods that are not ``async`` run in threads."""

    def __init__(self, settings: Settings) -> None:
        threads = settings.threads or default_threads()
        self.access = Access(settings.keys)
        self.shop = Recognizer(
            settings.index,
            model=settings.model,
            threshold=settings.threshold,
            sure=settings.sure,
            in_catalog=settings.in_catalog,
            threads=default_threads(),
            linger=_LINGER,
        )
        self.turns = Turns(threads=threads, waiting=settings.waiting, seconds=settings.seconds)
        # scrypt is slow on purpose; who guesses keys must not take the threads that answer photos.
        self._doors = Turns(threads=1, waiting=64, seconds=settings.seconds)
        self.products = ProductList(self.shop)
        self.teaching = Teaching(self.shop, self.products)
        self.pictures = ShownPictures(secrets.token_bytes(32))
        self.observed = Observed()
        self._origins = frozenset(settings.origins)
        self._ready_at = float("-inf")
        self._note_index()

    def close(self) -> None:
        """Finish what is under way, then let go of the index."""
        self.turns.close()
        self._doors.close()
        self.teaching.close()
        self.shop.close()

    async def allowed(self, request: Request, role: Role) -> Key | None:
        """The key that a request came with; None where none is asked for.

        Raises:
            Problem: 401 without a key of ours, 403 for one that may not, 429 for one that asks too often.
        """
        if self.access.open:
            return None
        kind, _, sent = request.headers.get("authorization", "").partition(" ")
        challenge = {"WWW-Authenticate": "Bearer"}
        if kind.lower() != "bearer" or not sent.strip():
            raise Problem(401, "no-key", "expected a key, received none", hint=_SEND_KEY, headers=challenge)
        try:
            key = await self._doors.run(partial(self.access.check, sent.strip()))
        except TooMany as error:
            wait = {"Retry-After": str(max(1, round(error.seconds + 0.5)))}
            raise Problem(429, "too-often", "This key asks more often than it may", headers=wait) from error
        if key is None:
            raise Problem(401, "wrong-key", "expected a key of this service, received another", headers=challenge)
        if not key.allows(role):
            raise Problem(403, "not-allowed", f"expected a key that may {role}, received one that may {key.role}")
        return key

    def everything(self, key: Key | None) -> None:
        """Refuse a key that sees a part of the catalog where all of it is shown.

        Raises:
            Problem: 403.
        """
        if key is not None and key.where:
            raise Problem(403, "not-allowed", "expected a key that sees the whole catalog, received one with a filter")

    def recognize(
        self, uploads: Sequence[Upload], top: int, where: Sequence[str], key: Key | None, *, same: bool
    ) -> dict[str, Any]:
        """The document for some photos."""
        filters = narrowed(where, key.where if key is not None else (), self.shop.live())
        photos = [
            PhotoSource(printable(upload.name)[:_LONGEST_NAME], partial(_bytes, upload.data)) for upload in uploads
        ]
        if same:
            results: Iterable[Answer | RefusedPhoto] = [self.shop.recognize_same(photos, top=top, where=filters)]
        elif len(photos) == 1:
            # Asked alone, a photo gets every core when no other is under way.
            results = [self.shop.recognize(photos[0], top=top, where=filters)]
        else:
            results = self.shop.recognize_all(photos, top=top, where=filters)
        answers, refused = [], []
        for result in results:
            if isinstance(result, RefusedPhoto):
                refused.append(result)
                self.observed.refused(result.error.reason)
            else:
                answers.append(result)
                self.observed.answered(result.verdict, result.timings_ms)
        self._note_index()
        document = query_document(
            answers,
            refused,
            fingerprint=self.shop.model.fingerprint,
            threshold=self.shop.threshold,
            calibration=self.shop.in_use(),
        )
        for entry in document["results"]:
            for match in [*entry["matches"], *entry.get("nearest", [])]:
                for evidence in match["evidence"]:
                    evidence["link"] = self.pictures.link(evidence["image"])
        return document

    def refuse(self, upload: Upload, note: str) -> dict[str, Any]:
        """Keep a refusal; its document."""
        name = printable(upload.name)[:_LONGEST_NAME]
        return {"schema": "itemrec.refusal/1", **self.shop.refuse(upload.data, note=note, name=name).described()}

    def refusals(self) -> dict[str, Any]:
        """The document of all refusals."""
        return {"schema": "itemrec.refusals/1", "refusals": [r.described() for r in self.shop.refusals()]}

    def unrefuse(self, refusal_id: str) -> dict[str, Any]:
        """Take a refusal back; the document of those that are left."""
        if refusal_id not in {r.refusal_id for r in self.shop.refusals()}:
            raise Problem(404, "no-refusal", "expected the id of a refusal, received one that is not known")
        self.shop.remove_refusals(refusal_id)
        return self.refusals()

    def products_found(self, text: str, limit: int, after: int) -> dict[str, Any]:
        """The document of a search."""
        found, total = self.products.find(text, limit=limit, after=after)
        return {"schema": "itemrec.products/1", "total": total, "products": [self._product(p) for p in found]}

    def product(self, product_id: str) -> dict[str, Any]:
        """The document of one product."""
        found = self.products.get(product_id)
        if found is None:
            raise Problem(404, "no-product", "expected a product of the index, received an id that it does not have")
        return {"schema": "itemrec.product/1", **self._product(found)}

    def picture(self, image: str, signature: str, size: int) -> tuple[bytes, str]:
        """A small picture and its tag."""
        if not self.pictures.is_signed(image, signature):
            raise Problem(403, "wrong-link", "expected the link of an answer, received another")
        try:
            return self.pictures.jpeg(self.shop.manifest.catalog, image, size)
        except ItemrecError as error:
            raise Problem(404, "no-picture", "The picture is not in the catalog's folder any more") from error

    def status(self, key: Key | None) -> dict[str, Any]:
        """The document of what is served."""
        manifest, bundle = self.shop.live(), self.shop.model
        return {
            "schema": "itemrec.status/1",
            "version": release(),
            "images": manifest.images,
            "products": manifest.products,
            "generation": manifest.generation,
            "columns": list(manifest.metadata_keys),
            "model": {"name": bundle.name, "fingerprint": bundle.fingerprint},
            "threshold": self.shop.threshold,
            "role": "admin" if key is None else key.role,
            "whole_catalog": key is None or not key.where,
        }

    def ready(self) -> None:
        """Search the index for one of its own pictures.

        Raises:
            Problem: 503 when it does not come back.
        """
        if time.monotonic() - self._ready_at < _READY_SECONDS:
            return
        if not self.shop.finds_itself(_NEAR):
            raise Problem(503, "not-ready", "A picture of the index does not find itself", hint="itemrec doctor")
        self._ready_at = time.monotonic()

    async def around(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """Give every request an id, the headers that keep browsers safe, and a place in the metrics."""
        sent = request.headers.get("x-request-id", "")
        request.state.id = sent if _REQUEST_ID.fullmatch(sent) else secrets.token_hex(8)
        start = time.perf_counter()
        if request.method not in ("GET", "HEAD", "OPTIONS") and self._from_elsewhere(request):
            problem = Problem(403, "other-origin", "expected a request of this page, received one of another")
            response: Response = self.answer(request, problem)
        else:
            response = await call_next(request)
        response.headers["X-Request-Id"] = request.state.id
        for name, value in _SAFE.items():
            response.headers.setdefault(name, value)
        if "Cache-Control" not in response.headers:
            response.headers["Cache-Control"] = "no-store"
        route = request.scope.get("route")
        path = getattr(route, "path", "other")
        self.observed.request(path, response.status_code, time.perf_counter() - start)
        return response

    def answer(self, request: Request, problem: Problem) -> JSONResponse:
        """A problem as a response."""
        self.observed.refused(problem.code)
        ident = getattr(request.state, "id", "")
        return JSONResponse(problem.to_json(ident), problem.status, headers=problem.headers)

    def _from_elsewhere(self, request: Request) -> bool:
        """True for what another site's page sent: without keys, its forms would reach a service on this machine."""
        site = request.headers.get("sec-fetch-site", "none")
        if site in ("none", "same-origin"):
            return False
        return request.headers.get("origin", "") not in self._origins

    def _product(self, product: IndexedProduct) -> dict[str, Any]:
        links = [{"image": image, "link": self.pictures.link(image)} for image in product.images]
        return product.to_json() | {"name": product.name, "images": links}

    def _note_index(self) -> None:
        manifest = self.shop.manifest
        self.observed.index(images=manifest.images, products=manifest.products, generation=manifest.generation)


def _errors(app: FastAPI, service: _Service) -> None:
    """Everything that goes wrong becomes ``itemrec.error/1``."""

    async def ours(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ItemrecError)
        return service.answer(request, Problem.of(error))

    async def problem(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Problem)
        return service.answer(request, error)

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return service.answer(request, Problem(422, "wrong-usage", _first(error.errors())))

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        codes: Mapping[int, str] = {404: "no-such-address", 405: "wrong-method"}
        code = codes.get(error.status_code, "wrong-request")
        headers = dict(error.headers or {})
        return service.answer(request, Problem(error.status_code, code, str(error.detail), headers=headers))

    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        message = f"something unexpected broke: {type(error).__name__}"
        return service.answer(request, Problem(500, "broke", message, hint="The service's log says more."))

    app.add_exception_handler(ItemrecError, ours)
    app.add_exception_handler(Problem, problem)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unexpected)


def _bytes(data: bytes) -> bytes:
    return data


def narrowed(asked: Sequence[str], forced: Sequence[str], manifest: Manifest) -> Filters | None:
    """The filter of a query within what its key may see: both must hold.

    Args:
        asked: terms of the query.
        forced: terms of the key.
        manifest: names the columns that exist.

    Raises:
        UsageError: a term is none, or a column is not the catalog's.
        Problem: 403 when the query asks for what its key does not see.
    """
    wanted = dict(parse_where(asked, manifest) or {})
    for column, terms in (parse_where(forced, manifest) or {}).items():
        seen = [term for term in terms if not isinstance(term, Compare)]
        mine = [term for term in wanted.get(column, ()) if not isinstance(term, Compare)]
        both = [term for term in mine if term in seen] if seen and mine else seen or mine
        if seen and mine and not both:
            raise Problem(403, "not-allowed", f"expected {printable(column)} as this key sees it, received another")
        compared = [term for term in (*terms, *wanted.get(column, ())) if isinstance(term, Compare)]
        wanted[column] = (*both, *compared)
    return wanted or None


def _first(faults: Sequence[Mapping[str, Any]]) -> str:
    """The first fault of a request's parameters, in one line."""
    fault = faults[0]
    name = ".".join(str(part) for part in fault["loc"][1:]) or "the request"
    return f"{printable(name)}: {printable(str(fault['msg']))}"
