"""The same small server by gRPC: the client library's own messages, and its in-memory mode."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc as wire
from qdrant_client import QdrantClient, grpc, models
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc


class _Root(grpc.QdrantServicer):
    def HealthCheck(self, request: Any, context: Any) -> Any:  # noqa: N802
        return grpc.HealthCheckReply(title="qdrant", version="1.20.0")


class _Collections(grpc.CollectionsServicer):
    def __init__(self, engine: QdrantClient) -> None:
        self._engine = engine

    def List(self, request: Any, context: Any) -> Any:  # noqa: N802
        names = [one.name for one in self._engine.get_collections().collections]
        listed = [grpc.CollectionDescription(name=name) for name in names]
        return grpc.ListCollectionsResponse(collections=listed)

    def CollectionExists(self, request: Any, context: Any) -> Any:  # noqa: N802
        exists = self._engine.collection_exists(request.collection_name)
        return grpc.CollectionExistsResponse(result=grpc.CollectionExists(exists=exists))

    def Create(self, request: Any, context: Any) -> Any:  # noqa: N802
        vectors: Any = {}
        if request.vectors_config.WhichOneof("config") == "params":
            vectors = GrpcToRest.convert_vectors_config(request.vectors_config)
        self._engine.create_collection(request.collection_name, vectors)
        return grpc.CollectionOperationResponse(result=True)

    def Get(self, request: Any, context: Any) -> Any:  # noqa: N802
        info = self._engine.get_collection(request.collection_name)
        return grpc.GetCollectionInfoResponse(result=RestToGrpc.convert_collection_info(info))


class _Points(grpc.PointsServicer):
    def __init__(self, engine: QdrantClient) -> None:
        self._engine, self._lock = engine, threading.Lock()

    def CreateFieldIndex(self, request: Any, context: Any) -> Any:  # noqa: N802
        return _done()

    def Upsert(self, request: Any, context: Any) -> Any:  # noqa: N802
        room = request.collection_name
        points = [GrpcToRest.convert_point_struct(one) for one in request.points]
        with self._lock:
            if request.update_mode == grpc.UpdateMode.InsertOnly:
                there = {one.id for one in self._engine.retrieve(room, [p.id for p in points])}
                points = [one for one in points if one.id not in there]
            if points:
                self._engine.upsert(room, points)
        return _done()

    def Get(self, request: Any, context: Any) -> Any:  # noqa: N802
        ids = [GrpcToRest.convert_point_id(one) for one in request.ids]
        wanted = GrpcToRest.convert_with_payload_selector(request.with_payload)
        vectors = request.with_vectors.enable
        with self._lock:
            found = self._engine.retrieve(request.collection_name, ids, wanted, vectors)
        return grpc.GetResponse(result=list(map(_record, found)))

    def SetPayload(self, request: Any, context: Any) -> Any:  # noqa: N802
        meant = GrpcToRest.convert_points_selector(request.points_selector)
        payload = GrpcToRest.convert_payload(request.payload)
        with self._lock:
            self._engine.set_payload(request.collection_name, payload, meant)
        return _done()

    def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802
        meant = GrpcToRest.convert_points_selector(request.points)
        with self._lock:
            self._engine.delete(request.collection_name, meant)
        return _done()

    def Scroll(self, request: Any, context: Any) -> Any:  # noqa: N802
        with self._lock:
            found, _ = self._engine.scroll(
                request.collection_name, _filter(request), limit=100_000, with_payload=True
            )
        return grpc.ScrollResponse(result=list(map(_record, found)))

    def Count(self, request: Any, context: Any) -> Any:  # noqa: N802
        with self._lock:
            counted = self._engine.count(request.collection_name, _filter(request))
        return grpc.CountResponse(result=grpc.CountResult(count=counted.count))

    def Query(self, request: Any, context: Any) -> Any:  # noqa: N802
        query = GrpcToRest.convert_query(request.query)
        vector = query.nearest if isinstance(query, models.NearestQuery) else query
        with self._lock:
            found = self._engine.query_points(
                request.collection_name, vector, query_filter=_filter(request), limit=request.limit
            )
        return grpc.QueryResponse(result=[RestToGrpc.convert_scored_point(p) for p in found.points])


def _filter(request: Any) -> models.Filter | None:
    return GrpcToRest.convert_filter(request.filter) if request.HasField("filter") else None


def _record(found: models.Record) -> Any:
    found.payload = found.payload or {}
    return RestToGrpc.convert_record(found)


def _done() -> Any:
    result = grpc.UpdateResult(operation_id=0, status=grpc.UpdateStatus.Completed)
    return grpc.PointsOperationResponse(result=result)


class Failing(wire.ServerInterceptor):
    """Ends calls of a method with a status, all after the first few."""

    def __init__(self) -> None:
        self.code, self.method, self.after = "", "", 0

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        if not self.code or not details.method.endswith(f"Points/{self.method}"):
            return continuation(details)
        self.after -= 1
        if self.after >= 0:
            return continuation(details)

        def refuse(request: Any, context: Any) -> None:
            context.abort(getattr(wire.StatusCode, self.code), "so it is")

        return wire.unary_unary_rpc_method_handler(refuse)


@contextmanager
def running_grpc(failing: Failing | None = None) -> Iterator[str]:
    """The server, while the block runs; its address."""
    engine = QdrantClient(":memory:")
    most = ("grpc.max_receive_message_length", 32 << 20)
    server = wire.server(
        ThreadPoolExecutor(4), options=[most], interceptors=[failing] if failing else []
    )
    grpc.add_QdrantServicer_to_server(_Root(), server)
    grpc.add_CollectionsServicer_to_server(_Collections(engine), server)
    grpc.add_PointsServicer_to_server(_Points(engine), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
