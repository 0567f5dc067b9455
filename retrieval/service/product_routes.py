"""Products and their pictures: found, shown, taught, changed, removed, taken back."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from retrieval.catalog.read import read_catalog
from retrieval.errors import ItemrecError
from retrieval.indexing.changes import cover_of
from retrieval.indexing.teach import is_taught
from retrieval.service import examples
from retrieval.service.access import Key
from retrieval.service.jobs import Job
from retrieval.service.problems import Problem
from retrieval.service.product_list import IndexedProduct
from retrieval.service.shared import Shared
from retrieval.service.uploads import read_object, read_photo
from retrieval.system.text import printable
from retrieval.types import Metadata

_MOST_PRODUCTS = 200


def product_routes(shared: Shared) -> APIRouter:
    """The routes of products, of their pictures, and of the jobs that bring both into the index."""
    router = APIRouter()

    @router.get("/v1/products", **examples.PRODUCTS)
    async def products(
        request: Request,
        q: Annotated[str, Query(max_length=200, description="Words of the id or the name.")] = "",
        limit: Annotated[int, Query(ge=1, le=_MOST_PRODUCTS)] = 50,
        after: Annotated[int, Query(ge=0, le=10_000_000, description="How many to leave out before.")] = 0,
        taught: Annotated[bool, Query(description="Only products with pictures that were taught.")] = False,
    ) -> JSONResponse:
        """The products of the index, searched by words of id and name."""
        shared.everything(await shared.allowed(request, "recognize"))
        return JSONResponse(await shared.turns.run(partial(_found, shared, q, limit, after, taught=taught)))

    @router.post("/v1/products/{product_id}/pictures", status_code=202, **examples.TEACH)
    async def teach(
        request: Request,
        product_id: str,
        new: Annotated[bool, Query(description="Make the product; else it must exist.")] = False,
        name: Annotated[str, Query(max_length=200, description="What a new product is called.")] = "",
    ) -> JSONResponse:
        """Make a photo a picture of a product: it is in the catalog's folder when this answers, and found soon after.

        The body is as in `/v1/recognize`, with one photo. `GET /v1/jobs/{id}` says when it is findable.
        """
        key = await shared.allowed(request, "teach")
        upload = await shared.turns.receive(read_photo(request))

        def work() -> Job:
            _require_seen(shared, key, product_id, {"name": name} if new else None)
            return shared.teaching.teach(upload.data, product_id, name=name, new=new)

        return JSONResponse((await shared.turns.run(work)).to_json(), 202)

    @router.delete("/v1/products/{product_id}/pictures/{image:path}", status_code=202, **examples.FORGET)
    async def forget(
        request: Request,
        product_id: str,
        image: str,
        studio: Annotated[bool, Query(description="Also one that the catalog came with; it can be undone.")] = False,
    ) -> JSONResponse:
        """Take a taught picture back; with `studio` any picture, which takes a key that may `admin`."""
        key = await shared.allowed(request, "admin" if studio else "teach")

        def work() -> Job:
            _require_seen(shared, key, product_id)
            return (shared.teaching.remove_any if studio else shared.teaching.forget)(product_id, image)

        return JSONResponse((await shared.turns.run(work)).to_json(), 202)

    @router.put("/v1/products/{product_id}/cover", **examples.COVER)
    async def cover(request: Request, product_id: str) -> JSONResponse:
        """Choose the picture that is shown for a product: `{"image": "0012/front.jpg"}`; null takes the choice back."""
        key = await shared.allowed(request, "admin")
        body = await shared.turns.receive(read_object(request))
        image = body.get("image")
        if set(body) != {"image"} or not isinstance(image, str | None):
            raise Problem(422, "wrong-usage", 'expected {"image": a path or null}, received another object')

        def work() -> dict[str, Any]:
            _require_seen(shared, key, product_id)
            shared.teaching.set_cover(product_id, image or "")
            return _one(shared, product_id)

        return JSONResponse(await shared.turns.run(work))

    @router.put("/v1/products/{product_id}", status_code=202, **examples.DESCRIBE)
    async def describe(
        request: Request,
        product_id: str,
        new: Annotated[bool, Query(description="Make the product; else it must exist.")] = False,
    ) -> JSONResponse:
        """Write what the catalog's table says of a product: the columns that are named, null clears one, others stay.

        To change one takes a key that may `admin`, to make one a key that may `teach`. The change can be undone.
        """
        key = await shared.allowed(request, "teach" if new else "admin")
        values = _values(await shared.turns.receive(read_object(request)))

        def work() -> Job:
            _require_seen(shared, key, product_id, values if new else None)
            if not new:
                _require_seen(shared, key, product_id, {**_metadata(shared, product_id), **values})
            return shared.teaching.describe(product_id, values, new=new)

        return JSONResponse((await shared.turns.run(work)).to_json(), 202)

    @router.delete("/v1/products/{product_id}", status_code=202, **examples.REMOVE)
    async def remove(request: Request, product_id: str) -> JSONResponse:
        """Take a product out of the catalog: its pictures and its row. The change can be undone."""
        key = await shared.allowed(request, "admin")

        def work() -> Job:
            _require_seen(shared, key, product_id)
            return shared.teaching.remove(product_id)

        return JSONResponse((await shared.turns.run(work)).to_json(), 202)

    @router.get("/v1/products/{product_id:path}", **examples.PRODUCT)
    async def product(request: Request, product_id: str) -> JSONResponse:
        """One product: what its table says, and links to its pictures, the cover first."""
        shared.everything(await shared.allowed(request, "recognize"))
        return JSONResponse(await shared.turns.run(partial(_one, shared, product_id)))

    @router.get("/v1/changes", **examples.CHANGES)
    async def changes(request: Request) -> JSONResponse:
        """What was changed and removed in the last 30 days and can be undone, newest first."""
        shared.everything(await shared.allowed(request, "admin"))
        return JSONResponse(await shared.turns.run(partial(_changes, shared)))

    @router.post("/v1/changes/{change}/undo", status_code=202, **examples.UNDO)
    async def undo(request: Request, change: str) -> JSONResponse:
        """Put back what a change took out or wrote over."""
        key = await shared.allowed(request, "teach")

        def work() -> Job:
            found = shared.teaching.change(change)
            made = found.action == "edit" and found.table is not None and found.table.row is None
            if key is not None and (key.where or not (made or key.allows("admin"))):
                raise Problem(403, "not-allowed", f"expected a key that may admin, received one that may {key.role}")
            return shared.teaching.undo(change)

        return JSONResponse((await shared.turns.run(work)).to_json(), 202)

    @router.get("/v1/jobs/{job}", **examples.JOB)
    async def job(request: Request, job: str) -> JSONResponse:
        """How far something that was taught is on its way into the index."""
        await shared.allowed(request, "teach")
        return JSONResponse(shared.teaching.job(job).to_json())

    @router.get("/v1/pictures/{image:path}", response_class=Response, **examples.PICTURE)
    async def picture(
        request: Request,
        image: str,
        sig: Annotated[str, Query(max_length=64, description="As the answer's link has it.")] = "",
        size: Annotated[int, Query(ge=1, le=768, description="Longer side, pixels.")] = 192,
    ) -> Response:
        """A catalog picture as a small JPEG without metadata. Its link comes with an answer, and needs no key."""
        data, tag = await shared.turns.run(partial(_picture, shared, image, sig, size))
        headers = {"ETag": tag, "Cache-Control": "private, max-age=3600"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(data, media_type="image/jpeg", headers=headers)

    return router


def _found(shared: Shared, text: str, limit: int, after: int, *, taught: bool) -> dict[str, Any]:
    """The document of a search."""
    found, total = shared.products.find(text, limit=limit, after=after, taught=taught)
    return {"schema": "itemrec.products/1", "total": total, "products": [_described(shared, p) for p in found]}


def _one(shared: Shared, product_id: str) -> dict[str, Any]:
    """The document of one product; one that is described and has no picture yet is in the catalog alone."""
    found = shared.products.get(product_id)
    if found is None:
        described = read_catalog(shared.teaching.catalog).products.get(product_id)
        if described is None:
            raise Problem(404, "no-product", "expected a product of the catalog, received an id that it does not have")
        found = IndexedProduct(product_id, described.metadata)
    return {"schema": "itemrec.product/1", **_described(shared, found)}


def _metadata(shared: Shared, product_id: str) -> Metadata:
    found = shared.products.get(product_id)
    return found.metadata if found is not None else read_catalog(shared.teaching.catalog).metadata(product_id)


def _require_seen(shared: Shared, key: Key | None, product_id: str, metadata: Metadata | None = None) -> None:
    """Refuse a product that a key does not see; whether there is one of that id is not told.

    Args:
        shared: the service.
        key: whose filter holds.
        product_id: which.
        metadata: what is said of it; None for what is said now.

    Raises:
        Problem: 403.
    """
    if key is None or not key.where:
        return
    if not shared.sees(key, _metadata(shared, product_id) if metadata is None else metadata):
        raise Problem(403, "not-allowed", "expected a product that this key sees, received another")


def _values(body: dict[str, Any]) -> dict[str, str]:
    """What a request says of a product, as a table writes it.

    Raises:
        Problem: 422.
    """
    metadata = body.get("metadata", {})
    if not body or set(body) - {"name", "metadata"} or not isinstance(metadata, dict):
        raise Problem(422, "wrong-usage", 'expected {"name": …, "metadata": {column: value}}, received another object')
    values: dict[str, str] = {}
    for column, value in [*metadata.items(), *([("name", body["name"])] if "name" in body else [])]:
        if isinstance(value, bool):
            value = "true" if value else "false"
        if not isinstance(value, str | int | float | None):
            raise Problem(422, "wrong-usage", f"{printable(column)[:80]}: expected text, a number or null")
        values[column] = "" if value is None else str(value)
    return values


def _changes(shared: Shared) -> dict[str, Any]:
    """The document of what can be undone."""
    found = [
        {
            "change": change.id,
            "action": change.action,
            "product_id": change.product_id,
            "created": change.created.isoformat(),
            "pictures": len(change.images),
        }
        for change in shared.teaching.changes()
    ]
    return {"schema": "itemrec.changes/1", "changes": found}


def _picture(shared: Shared, image: str, signature: str, size: int) -> tuple[bytes, str]:
    """A small picture and its tag."""
    if not shared.pictures.is_signed(image, signature):
        raise Problem(403, "wrong-link", "expected the link of an answer, received another")
    try:
        return shared.pictures.jpeg(shared.shop.manifest.catalog, image, size)
    except ItemrecError as error:
        raise Problem(404, "no-picture", "The picture is not in the catalog's folder any more") from error


def _described(shared: Shared, product: IndexedProduct) -> dict[str, Any]:
    cover = cover_of(shared.teaching.catalog, product.images) if product.images else ""
    images = sorted(product.images, key=lambda image: image != cover)
    links = [{"image": image, "link": shared.pictures.link(image), "taught": is_taught(image)} for image in images]
    return product.to_json() | {"name": product.name, "images": links}
