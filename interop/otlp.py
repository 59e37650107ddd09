#!/usr/bin/env python
"""Receive OpenTelemetry's traces and metrics, and print each as a line of JSON.

This script works in every virtual environment that `install` makes: the messages and the gRPC services
are those of Python's own package opentelemetry-proto, on which jina depends.

    python otlp.py --die-with-parent

When it can be reached, it prints

    {"ready": true, "ports": {"grpc": 41001, "http": 41002}}

and then a line for each span and each metric, in the order in which they come:

    {"span": {"service": "gateway", "name": "/search", "trace_id": "0af7...", ...}}
    {"metric": {"service": "gateway", "name": "...", "points": [...]}}

Port `grpc` takes OTLP over gRPC, and port `http` takes binary protobuf at /v1/traces and /v1/metrics.
A sender has its answer after the lines are printed. The script runs until SIGTERM or SIGINT.
"""
import argparse
import gzip
import http.server
import json
import os
import signal
import sys
import threading
from concurrent import futures

for _name in ('http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY'):
    os.environ.pop(_name, None)

import grpc
from opentelemetry.proto.collector.metrics.v1 import (
    metrics_service_pb2 as metrics_service,
    metrics_service_pb2_grpc as metrics_grpc,
)
from opentelemetry.proto.collector.trace.v1 import (
    trace_service_pb2 as trace_service,
    trace_service_pb2_grpc as trace_grpc,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

_PRINTING = threading.Lock()


def _print(lines):
    with _PRINTING:
        for line in lines:
            print(json.dumps(line), flush=True)


def _value(value):
    """Return an attribute's value as JSON has it. Bytes become hex."""
    kind = value.WhichOneof('value')
    if kind is None:
        return None
    content = getattr(value, kind)
    if kind == 'array_value':
        return [_value(item) for item in content.values]
    if kind == 'kvlist_value':
        return _attributes(content.values)
    return content.hex() if kind == 'bytes_value' else content


def _attributes(pairs):
    return {pair.key: _value(pair.value) for pair in pairs}


def _service(resource):
    return _attributes(resource.attributes).get('service.name', '')


def _spans(request):
    """Return the spans of a request. Times are nanoseconds since 1970, as on the wire."""
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                found = {
                    'service': _service(resource.resource),
                    'scope': scope.scope.name,
                    'name': span.name,
                    'kind': Span.SpanKind.Name(span.kind).removeprefix('SPAN_KIND_'),
                    'trace_id': span.trace_id.hex(),
                    'span_id': span.span_id.hex(),
                    'parent_span_id': span.parent_span_id.hex(),
                    'trace_state': span.trace_state,
                    'start': span.start_time_unix_nano,
                    'end': span.end_time_unix_nano,
                    'attributes': _attributes(span.attributes),
                    'events': [
                        {
                            'name': event.name,
                            'time': event.time_unix_nano,
                            'attributes': _attributes(event.attributes),
                        }
                        for event in span.events
                    ],
                    'status': Status.StatusCode.Name(span.status.code).removeprefix(
                        'STATUS_CODE_'
                    ),
                    'message': span.status.message,
                }
                yield {'span': found}


def _point(point):
    found = {'attributes': _attributes(point.attributes)}
    if hasattr(point, 'bucket_counts'):
        return dict(found, count=point.count, sum=point.sum)
    kind = point.WhichOneof('value')
    return dict(found, value=kind and getattr(point, kind))


def _metrics(request):
    """Return the metrics of a request: sums and gauges with values, histograms with counts and sums."""
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof('data')
                points = getattr(metric, kind).data_points if kind else []
                found = {
                    'service': _service(resource.resource),
                    'scope': scope.scope.name,
                    'name': metric.name,
                    'unit': metric.unit,
                    'kind': kind,
                    'points': [_point(point) for point in points],
                }
                yield {'metric': found}


class _Traces(trace_grpc.TraceServiceServicer):
    def Export(self, request, context):
        _print(_spans(request))
        return trace_service.ExportTraceServiceResponse()


class _Metrics(metrics_grpc.MetricsServiceServicer):
    def Export(self, request, context):
        _print(_metrics(request))
        return metrics_service.ExportMetricsServiceResponse()


# What each path takes, and what it answers with.
_PATHS = {
    '/v1/traces': (
        trace_service.ExportTraceServiceRequest,
        trace_service.ExportTraceServiceResponse,
        _spans,
    ),
    '/v1/metrics': (
        metrics_service.ExportMetricsServiceRequest,
        metrics_service.ExportMetricsServiceResponse,
        _metrics,
    ),
}


class _Http(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get('content-length', 0)))
        if self.path not in _PATHS:
            return self._answer(404, b'')
        request, response, found = _PATHS[self.path]
        try:
            if self.headers.get('content-encoding') == 'gzip':
                body = gzip.decompress(body)
            lines = list(found(request.FromString(body)))
        except Exception as error:
            print(f'otlp.py: {error!r}', file=sys.stderr)
            return self._answer(400, b'')
        _print(lines)
        self._answer(200, response().SerializeToString())

    def _answer(self, status, body):
        self.send_response(status)
        self.send_header('content-type', 'application/x-protobuf')
        self.send_header('content-length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def main(argv=None):
    p = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog='SIGTERM and SIGINT end it.'
    )
    p.add_argument('--host', default='127.0.0.1')
    p.add_argument('--port', default='0,0', help='gRPC, HTTP; 0 picks a free port')
    p.add_argument(
        '--die-with-parent',
        action='store_true',
        help='also stop when the process that started this one has ended',
    )
    args = p.parse_args(argv)
    parent = os.getppid()
    # All threads leave these signals to the loop below.
    ending = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)

    of_grpc, of_http = (int(port) for port in args.port.split(','))
    server = grpc.server(
        futures.ThreadPoolExecutor(4),
        # Otherwise two processes could listen on one port.
        options=[('grpc.so_reuseport', 0), ('grpc.max_receive_message_length', -1)],
    )
    trace_grpc.add_TraceServiceServicer_to_server(_Traces(), server)
    metrics_grpc.add_MetricsServiceServicer_to_server(_Metrics(), server)
    try:
        of_grpc = server.add_insecure_port(f'{args.host}:{of_grpc}')
        web = http.server.ThreadingHTTPServer((args.host, of_http), _Http)
    except Exception as error:
        _print([{'ready': False, 'error': f'{type(error).__name__}: {error}'}])
        raise SystemExit(1)
    server.start()
    threading.Thread(target=web.serve_forever, daemon=True).start()
    ports = {'grpc': of_grpc, 'http': web.server_address[1]}
    _print([{'ready': True, 'ports': ports}])
    while signal.sigtimedwait(ending, 0.5) is None:
        if args.die_with_parent and os.getppid() != parent:
            break
    server.stop(0)
    # A thread may still wait for a request on an open connection.
    os._exit(0)


if __name__ == '__main__':
    main()
