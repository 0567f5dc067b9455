"""The part of Qdrant's gRPC interface that itemrec uses, over the same local mode as `tests.qdrant.double`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from qdrant_client import grpc as g
from qdrant_client import models
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc

from tests.qdrant.double import Double

DONE = g.UpdateResult(operation_id=0, status=g.UpdateStatus.Completed)


class Points(g.PointsServicer):
    """Answers from a double's collections; `trouble` is called first and may abort."""

    def __init__(self, double: Double, trouble: Callable[[str, Any], None]) -> None:
        self.double = double
        self.trouble = trouble

    def _ask(self, name: str, context: Any, work: Callable[[], Any]) -> Any:
        self.double.requests.append(("gRPC", name))
        self.trouble(name, context)
        with self.double.lock:
            try:
                return work()
            except ValueError as error:
                missing = "not found" in str(error)
                context.abort(grpc.StatusCode.NOT_FOUND if missing else grpc.StatusCode.INVALID_ARGUMENT, str(error))

    def _search(self, wanted: g.QueryPoints) -> list[g.ScoredPoint]:
        found = self.double.client.query_points(
            wanted.collection_name,
            query=GrpcToRest.convert_query(wanted.query),
            limit=wanted.limit,
            query_filter=GrpcToRest.convert_filter(wanted.filter) if wanted.HasField("filter") else None,
            score_threshold=wanted.score_threshold if wanted.HasField("score_threshold") else None,
            with_payload=True,
        )
        return [RestToGrpc.convert_scored_point(hit) for hit in found.points]

    def Query(self, request: g.QueryPoints, context: Any) -> Any:
        return self._ask("Query", context, lambda: g.QueryResponse(result=self._search(request)))

    def QueryBatch(self, request: g.QueryBatchPoints, context: Any) -> Any:
        def work() -> g.QueryBatchResponse:
            for query in request.query_points:
                query.collection_name = request.collection_name
            return g.QueryBatchResponse(result=[g.BatchResult(result=self._search(q)) for q in request.query_points])

        return self._ask("QueryBatch", context, work)

    def Scroll(self, request: g.ScrollPoints, context: Any) -> Any:
        def work() -> g.ScrollResponse:
            found, following = self.double.client.scroll(
                request.collection_name,
                scroll_filter=GrpcToRest.convert_filter(request.filter) if request.HasField("filter") else None,
                limit=request.limit,
                offset=GrpcToRest.convert_point_id(request.offset) if request.HasField("offset") else None,
                with_payload=True,
                with_vectors=request.with_vectors.enable,
            )
            records = [RestToGrpc.convert_record(record) for record in found]
            return g.ScrollResponse(result=records, next_page_offset=None if following is None else _id(following))

        return self._ask("Scroll", context, work)

    def Count(self, request: g.CountPoints, context: Any) -> Any:
        def work() -> g.CountResponse:
            return g.CountResponse(result=g.CountResult(count=self.double.client.count(request.collection_name).count))

        return self._ask("Count", context, work)

    def Facet(self, request: g.FacetCounts, context: Any) -> Any:
        def work() -> g.FacetResponse:
            found = self.double.client.facet(request.collection_name, key=request.key, limit=request.limit)
            return g.FacetResponse(hits=[RestToGrpc.convert_facet_value_hit(hit) for hit in found.hits])

        return self._ask("Facet", context, work)

    def Get(self, request: g.GetPoints, context: Any) -> Any:
        def work() -> g.GetResponse:
            ids = [GrpcToRest.convert_point_id(i) for i in request.ids]
            found = self.double.client.retrieve(
                request.collection_name,
                ids,
                with_payload=request.with_payload.enable,
                with_vectors=request.with_vectors.enable,
            )
            records = [record.model_copy(update={"payload": record.payload or {}}) for record in found]
            return g.GetResponse(result=[RestToGrpc.convert_record(record) for record in records])

        return self._ask("Get", context, work)

    def Upsert(self, request: g.UpsertPoints, context: Any) -> Any:
        def work() -> g.PointsOperationResponse:
            points = [GrpcToRest.convert_point_struct(p) for p in request.points]
            self.double.client.upsert(request.collection_name, points)
            return g.PointsOperationResponse(result=DONE)

        return self._ask("Upsert", context, work)

    def Delete(self, request: g.DeletePoints, context: Any) -> Any:
        def work() -> g.PointsOperationResponse:
            self.double.client.delete(request.collection_name, GrpcToRest.convert_points_selector(request.points))
            return g.PointsOperationResponse(result=DONE)

        return self._ask("Delete", context, work)

    def UpdateBatch(self, request: g.UpdateBatchPoints, context: Any) -> Any:
        def work() -> g.UpdateBatchResponse:
            for operation in request.operations:
                change = operation.set_payload
                self.double.client.set_payload(
                    request.collection_name,
                    GrpcToRest.convert_payload(change.payload),
                    models.PointIdsList(
                        points=[GrpcToRest.convert_point_id(i) for i in change.points_selector.points.ids]
                    ),
                )
            return g.UpdateBatchResponse(result=[DONE] * len(request.operations))

        return self._ask("UpdateBatch", context, work)


class Root(g.QdrantServicer):
    """The health check alone."""

    def __init__(self, double: Double) -> None:
        self.double = double

    def HealthCheck(self, request: Any, context: Any) -> Any:
        return g.HealthCheckReply(title="qdrant - vector search engine", version=self.double.version)


def _id(value: Any) -> g.PointId:
    return g.PointId(uuid=value) if isinstance(value, str) else g.PointId(num=value)


@contextmanager
def serving_grpc(double: Double, trouble: Callable[[str, Any], None] = lambda name, context: None) -> Iterator[int]:
    """Run beside a double until the context is left; yields the port."""
    server = grpc.server(ThreadPoolExecutor(8))
    g.add_PointsServicer_to_server(Points(double, trouble), server)
    g.add_QdrantServicer_to_server(Root(double), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(0).wait(5)
