"""Work for etcd: gRPC requests made by h2load, an HTTP/2 load generator in C.

A gRPC request is a POST whose body is five bytes (not compressed, length) and a protobuf message.
h2load repeats one body and looks at the HTTP status, which is 200 for a gRPC error, too; so it is
proven afterwards that every request did what it should: etcd counts the changes of a key, and the
answers to ranges carry the value, so they cannot be smaller than that.
"""
import base64
import re
import statistics
import subprocess

from process import Failure

KEY = b"/bench/key"
CONNECTIONS = 8
STREAMS = 125


def field(number, value):
    """A protobuf field of bytes."""
    assert len(value) < 1 << 14
    size = bytes([len(value)]) if len(value) < 128 else bytes([len(value) & 127 | 128,
                                                               len(value) >> 7])
    return bytes([number << 3 | 2]) + size + value


def body(message):
    return b"\0" + len(message).to_bytes(4, "big") + message


def put_request(size):
    return body(field(1, KEY) + field(2, b"v" * size))


def range_request():
    """Of one key; linearizable unless it says otherwise."""
    return body(field(1, KEY))


def run(system, number, method, request, count, connections, streams, log=None):
    """The seconds it took, and the bytes of the answers' bodies."""
    path = system.directory / f"{method}.body"
    path.write_bytes(request)
    argv = ["h2load", "-n", str(count), "-c", str(connections), "-m", str(streams), "-d", str(path),
            "-H", "content-type: application/grpc", "-H", "te: trailers"]
    if log:
        log.unlink(missing_ok=True)
        argv += ["--log-file", str(log)]
    argv.append(f"http://{system.server(number)}/etcdserverpb.KV/{method}")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    succeeded = re.search(r"(\d+) succeeded", done.stdout)
    finished = re.search(r"finished in ([\d.]+)(us|ms|s)", done.stdout)
    data = re.search(r"\((\d+)\) data", done.stdout)
    if done.returncode != 0 or not (succeeded and finished and data):
        raise Failure(f"h2load: {done.stdout}{done.stderr}")
    if int(succeeded[1]) != count:
        raise Failure(f"h2load: {succeeded[1]} of {count} requests succeeded")
    unit = {"us": 1e-6, "ms": 1e-3, "s": 1}[finished[2]]
    return float(finished[1]) * unit, int(data[1])


def key_version(system, number):
    """How often the key was written; 0 if it is not there."""
    answer = system.ask(number, "/v3/kv/range", {"key": base64.b64encode(KEY).decode()})
    if answer is None:
        raise Failure("etcd does not answer")
    return int(answer["kvs"][0]["version"]) if "kvs" in answer else 0


def put(system, number, count, size):
    """Puts with 8 x 125 in flight to a member; operations a second."""
    count -= count % (CONNECTIONS * STREAMS)
    before = key_version(system, number)
    seconds, _ = run(system, number, "Put", put_request(size), count, CONNECTIONS, STREAMS)
    written = key_version(system, number) - before
    if written != count:
        raise Failure(f"etcd: {count} puts answered, {written} done")
    return count / seconds


def linearizable_range(system, number, count, size):
    """Ranges one after the other at a member; median in us."""
    run(system, number, "Put", put_request(size), 1, 1, 1)
    log = system.directory / "range.log"
    _, data = run(system, number, "Range", range_request(), count, 1, 1, log)
    if data < count * size:
        raise Failure(f"etcd: {count} ranges brought {data} bytes")
    rows = [line.split("\t") for line in log.read_text().splitlines()]
    if len(rows) != count or any(status != "200" for _, status, _ in rows):
        raise Failure("etcd: ranges failed")
    return statistics.median(int(us) for _, _, us in rows)
