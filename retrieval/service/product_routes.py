"""Products and their pictures: found, shown, taught, taken back."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from retrieval.errors import ItemrecError
from retrieval.service import examples
from retrieval.service.problems import Problem
from retrieval.service.product_list import IndexedProduct
from retrieval.service.shared import Shared
from retrieval.service.uploads import read_photo

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
    ) -> JSONResponse:
        """The products of the index, searched by words of id and name."""
        shared.everything(await shared.allowed(request, "recognize"))
        return JSONResponse(await shared.turns.run(partial(_found, shared, q, limit, after)))

    @router.get("/v1/products/{product_id:path}", **examples.PRODUCT)
    async def product(request: Request, product_id: str) -> JSONResponse:
        """One product: what its table says, and links to its pictures."""
        shared.everything(await shared.allowed(request, "recognize"))
        return JSONResponse(await shared.turns.run(partial(_one, shared, product_id)))

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
        await shared.allowed(request, "teach")
        upload = await shared.turns.receive(read_photo(request))
        work = partial(shared.teaching.teach, upload.data, product_id, name=name, new=new)
        return JSONResponse((await shared.turns.run(work)).to_json(), 202)

    @router.delete("/v1/products/{product_id}/pictures/{image:path}", status_code=202, **examples.FORGET)
    async def forget(request: Request, product_id: str, image: str) -> JSONResponse:
        """Take a taught picture back. Pictures that the catalog came with are refused."""
        await shared.allowed(request, "teach")
        work = partial(shared.teaching.forget, product_id, image)
        return JSONResponse((await shared.turns.run(work)).to_json(), 202)

    @router.get("/v1/jobs/{job}", **examples.JOB)
    async def job(request: Request, job: str) -> JSONResponse:
        """How far something that was taught is on its way into the index."""
        await shared.allowed(request, "teach")
        return JSONResponse(shared.teaching.job(job).to_json())

    @router.get("/v1/pictures/{image:path}", response_class=Response)
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


def _found(shared: Shared, text: str, limit: int, after: int) -> dict[str, Any]:
    """The document of a search."""
    found, total = shared.products.find(text, limit=limit, after=after)
    return {"schema": "itemrec.products/1", "total": total, "products": [_described(shared, p) for p in found]}


def _one(shared: Shared, product_id: str) -> dict[str, Any]:
    """The document of one product."""
    found = shared.products.get(product_id)
    if found is None:
        raise Problem(404, "no-product", "expected a product of the index, received an id that it does not have")
    return {"schema": "itemrec.product/1", **_described(shared, found)}


def _picture(shared: Shared, image: str, signature: str, size: int) -> tuple[bytes, str]:
    """A small picture and its tag."""
    if not shared.pictures.is_signed(image, signature):
        raise Problem(403, "wrong-link", "expected the link of an answer, received another")
    try:
        return shared.pictures.jpeg(shared.shop.manifest.catalog, image, size)
    except ItemrecError as error:
        raise Problem(404, "no-picture", "The picture is not in the catalog's folder any more") from error


def _described(shared: Shared, product: IndexedProduct) -> dict[str, Any]:
    links = [{"image": image, "link": shared.pictures.link(image)} for image in product.images]
    return product.to_json() | {"name": product.name, "images": links}
