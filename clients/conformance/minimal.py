"""The smallest complete client of the operator protocol: one slot that counts the words of a file, one a line.
Written from docs/protocol.md and proto/holdfast/v1 alone; numbers in comments are rules of that page. One thread reads
the stream, one sends heartbeats, the main thread owns all else. The distinct words have to fit into memory."""
import argparse, contextlib, functools, os, pathlib, queue, signal, struct, sys, threading, time, uuid
from collections import deque
from typing import Any
import grpc
from holdfast.v1 import error_pb2 as errors, job_pb2 as job, job_pb2_grpc, operator_pb2 as pb, operator_pb2_grpc

SOURCE, COUNTER, STATE = "file-source", "counter", "count"
BATCH_BYTES, DIRTY_KEYS, DIRTY_SECONDS, TICK_SECONDS = 4096, 2048, 1.0, 0.05
CHANNEL = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own: 3.5 decides when a node is tried, not gRPC
RETRY, INT64 = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED), struct.Struct("<q")
log = functools.partial(print, "minimal.py:", file=sys.stderr, flush=True)

def open_channel(address: str) -> grpc.Channel:  # 1: TLS if there is a CA file, a certificate if there is one
    files = [os.environ.get(f"HOLDFAST_TLS_{name}_FILE") for name in ("CA", "KEY", "CERT")]
    if not files[0]:
        return grpc.insecure_channel(address, CHANNEL)
    name = os.environ.get("HOLDFAST_TLS_SERVER_NAME")
    credentials = grpc.ssl_channel_credentials(*(pathlib.Path(file).read_bytes() if file else None for file in files))
    return grpc.secure_channel(address, credentials, CHANNEL + [("grpc.ssl_target_name_override", name)] * bool(name))

class Stream:
    """One stream of Run. What comes down goes to the inbox as (stream, message), and its end as (stream, None)."""
    def __init__(self, address: str, hello: pb.Hello, inbox: "queue.SimpleQueue[Any]") -> None:
        self.address, self.inbox, self.outgoing, self.ended = address, inbox, queue.SimpleQueue(), threading.Event()
        self.welcome, self.echoed = pb.Welcome(session_timeout_ms=15000), time.monotonic()
        self.outgoing.put(pb.OperatorMessage(hello=hello))  # None is the half-close
        self.channel = open_channel(address)
        self.call = operator_pb2_grpc.OperatorServiceStub(self.channel).Run(iter(self.outgoing.get, None))
        for work in (self._read, self._beat):
            threading.Thread(target=work, daemon=True).start()

    def _read(self) -> None:  # 3.4: never waits for the main thread
        with self.channel, contextlib.suppress(grpc.RpcError):  # the error stays in self.call
            for message in self.call:
                self.welcome = message.welcome if message.HasField("welcome") else self.welcome
                self.echoed = time.monotonic() if message.HasField("heartbeat_echo") else self.echoed
                self.inbox.put((self, message))
        self.inbox.put((self, None))
        self.ended.set()

    def _beat(self) -> None:  # 3.3
        while not self.ended.wait(self.welcome.heartbeat_interval_ms / 1000 or TICK_SECONDS):
            if time.monotonic() - self.echoed > self.welcome.session_timeout_ms / 1000:
                self.call.cancel()
            elif self.welcome.session_id:
                self.outgoing.put(pb.OperatorMessage(heartbeat={}))
        self.outgoing.put(None)

class Attempt:
    """One life of the subtask, from its Assign on (4.3); it is dropped as a whole."""
    def __init__(self, assign: pb.Assign, stream: Stream) -> None:
        self.stream, self.asked_on, self.token, self.number = stream, stream, assign.fencing_token, assign.attempt
        self.checkpoints, self.at_end, self.finished = assign.checkpoints_enabled, False, False
        split = assign.splits[0]  # this source has one; where the attempt has to resolve its offset, it begins at 0
        self.position = job.Position(topic=split.topic, next_offset=split.start_offset, leader_epoch=-1)
        self.state_id = next(s.id for s in assign.state_ids if (s.operator_uid, s.state_name) == (COUNTER, STATE))
        self.values: dict[bytes, int] = {}  # the working copy
        self.dirty: dict[bytes, int] = {}  # what of it changed and is in no frame
        self.unsent: deque[tuple[str, Any]] = deque()  # frames; a sealed generation ends with a checkpoint_ready
        self.sent: deque[tuple[str, Any]] = deque()  # frames that were not acknowledged
        self.batch, self.asked = deque(), deque()  # words to count and the offset after each; keys without their value
        self.held: list[str] = []  # output that was not released
        self.seq = self.acknowledged = self.request_id = self.barrier = self.dirty_since = 0

    def seal(self) -> None:  # 5.4: what is dirty becomes flushes
        limits = self.stream.welcome.limits
        while self.dirty:
            changes, room = [], limits.flush_bytes
            while self.dirty and room >= limits.key_bytes + INT64.size + 6:
                changes.append(self.dirty.popitem())
                room -= len(changes[-1][0]) + INT64.size + 6
            keys, values = [key for key, _ in changes], [INT64.pack(count) for _, count in changes]
            section = dict(state_id=self.state_id, ops=bytes([pb.FLUSH_OP_PUT]) * len(keys), key_lengths=map(len, keys),
                           keys=b"".join(keys), value_lengths=map(len, values), values=b"".join(values))
            self.unsent.append(("flush", pb.Flush(sections=[section])))

class Client:
    """A process with one slot; all of this runs in the main thread."""
    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.inbox, self.failures, self.busy = args, queue.SimpleQueue(), 0, False
        self.addresses = os.environ.get("HOLDFAST_ADDRESS", "127.0.0.1:7070").split(",")
        self.stream: Stream | None = None
        self.attempt: Attempt | None = None
        self.job_ended: pb.JobEnded | None = None

    def next_address(self) -> str:  # 3.5
        time.sleep(min(1.0, 0.05 * 2 ** min(self.failures // len(self.addresses), 5) - 0.05))
        self.failures, self.addresses = self.failures + 1, self.addresses[1:] + self.addresses[:1]
        return self.addresses[-1]

    def submit(self) -> str:  # 1
        source = dict(uid=SOURCE, parallelism=1, source=dict(connector="file", topics=[self.args.file]))
        counter = dict(uid=COUNTER, parallelism=1, states=[dict(name=STATE, kind=job.STATE_KIND_VALUE, type="int64")],
                       inputs=[dict(operator_uid=SOURCE, partitioning=job.PARTITIONING_HASH)])
        spec = dict(name=self.args.job, operators=[source, counter], checkpoint=dict(interval_ms=self.args.interval))
        request = job.SubmitRequest(spec=spec, submission_id=os.environ.get("HOLDFAST_SUBMISSION_ID"))
        while True:
            with open_channel(self.next_address()) as channel:
                try:
                    return job_pb2_grpc.JobServiceStub(channel).Submit(request, timeout=15).job_id
                except grpc.RpcError as error:
                    if error.code() not in RETRY:
                        raise

    def run(self) -> None:
        me = dict(protocol_version=1, client_name="minimal.py", job_id=self.submit(), operator_uids=[SOURCE, COUNTER],
                  instance_id=uuid.uuid4().hex, process_id=os.environ.get("HOLDFAST_PROCESS_ID") or uuid.uuid4().hex)
        while not self.job_ended:
            if not self.stream:  # 7.1
                hello = pb.Hello(resume=dict(attempt=self.attempt.number) if self.attempt else None, **me)
                self.stream = Stream(self.next_address(), hello, self.inbox)
            with contextlib.suppress(queue.Empty):
                stream, message = self.inbox.get(timeout=0 if self.busy else TICK_SECONDS)
                if stream is self.stream:  # else of one that was given up
                    self.receive(stream, message)
            self.busy, a = False, self.attempt
            if a and a.stream is self.stream:  # else it has not been resumed yet
                self.busy = self.work(a)
                self.pump(a)

    def receive(self, stream: Stream, message: pb.HostMessage | None) -> None:
        a, kind = self.attempt, message.WhichOneof("message") if message else "end"
        body = getattr(message, kind or "", None)
        if kind not in ("assign", "resume", "fenced") and getattr(body, "fencing_token", 0) not in (0, a and a.token):
            return  # 3.8
        match kind:  # 3.7: what is unknown is ignored
            case "end":  # a status with details is the server's word and not the transport's (1)
                if stream.call.code() not in RETRY and "status-details-bin" in str(stream.call.trailing_metadata()):
                    raise stream.call
                self.stream = None
            case "welcome":
                self.addresses += [address for address in body.addresses if address not in self.addresses]
            case "heartbeat_echo":
                self.failures = 0
            case "discover_splits":  # 4.1
                split = dict(topic=self.args.file, start_offset=0 if body.resolve_offsets else None)
                error = dict(reason=errors.ERROR_REASON_SOURCE_NOT_FOUND, message=f"no file {self.args.file}")
                found = dict(splits=[split]) if os.path.exists(self.args.file) else dict(error=error)
                self.send("splits_found", pb.SplitsFound(operator_uid=body.operator_uid, **found))
            case "assign":  # 4.2
                self.attempt = Attempt(body, stream)
                log(f"assigned attempt {body.attempt} from offset {body.splits[0].start_offset}")
                if (offset := body.splits[0].start_offset) > os.path.getsize(self.args.file):  # 4.3
                    known = dict(topic=self.args.file, partition="0", offset=str(offset), first_offset="0")
                    error = dict(reason=errors.ERROR_REASON_OFFSET_OUT_OF_RANGE, message="short file", metadata=known)
                    self.send("failed", pb.Failed(failure_class=pb.FAILURE_CLASS_EXTERNAL, error=error))
                    self.attempt = None
            case "resume" if a and a.number == body.attempt:  # 7.2; pump asks for what is still asked
                log(f"resumed attempt {a.number} after seq {body.last_seq} on {stream.address}")
                a.stream, a.token, a.acknowledged = stream, body.fencing_token, body.last_seq
                for frame in (frame for frame in a.sent if frame[1].seq > body.last_seq):
                    self.send(*frame)
            case "go_away" | "fenced" if kind == "go_away" or a and a.number == body.attempt:  # 3.6, 7.3
                stream.outgoing.put(None)
                self.stream = None
            case "fenced" | "revoke" | "refused":  # 7.3, 4.4, 5.7
                log(f"attempt is over: {kind}")
                self.attempt = None
            case "values":  # 5.2
                for section in body.sections:
                    counts = INT64.iter_unpack(section.values)
                    a.values.update((a.asked.popleft(), next(counts)[0] if found else 0) for found in section.found)
            case "flush_ack":
                self.failures, a.acknowledged = 0, body.through_seq
            case "barrier" if body.checkpoint_id > a.barrier and not a.finished:  # 6.1, 6.4
                n = a.barrier = body.checkpoint_id
                self.send("barrier_passed", pb.BarrierPassed(checkpoint_id=n))
                a.unsent = deque(frame for frame in a.unsent if frame[0] != "checkpoint_ready")  # 6.5
                a.seal()
                a.unsent.append(("checkpoint_ready", pb.CheckpointReady(checkpoint_id=n, positions=[a.position])))
            case "checkpoint_aborted" if body.checkpoint_id == a.barrier:  # 6.6, as far as it makes a difference
                a.unsent = deque(frame for frame in a.unsent if frame[0] != "checkpoint_ready")
            case "job_ended":
                self.job_ended = body

    def send(self, kind: str, body: Any) -> None:
        if hasattr(body, "fencing_token"):
            body.fencing_token = self.attempt.token
        self.stream.outgoing.put(pb.OperatorMessage(**{kind: body}))

    def work(self, a: Attempt) -> bool:  # counts the next record or reads the next batch; false if it had nothing to do
        if a.asked or a.at_end or not (a.batch or a.checkpoints or not (a.dirty or a.unsent or a.sent)):  # 5.8
            return False
        if a.batch:
            word, a.position.next_offset = a.batch.popleft()
            a.dirty_since = a.dirty_since if a.dirty else time.monotonic()
            a.values[word] = a.dirty[word] = a.values[word] + 1
            a.held.append(f"({word.decode(errors='replace')},{a.values[word]})")
            time.sleep(self.args.throttle_us / 1e6)
            return True
        with open(self.args.file, "rb") as file:
            offset = file.seek(a.position.next_offset)
            for line in file.readlines(BATCH_BYTES):
                if line.endswith(b"\n") or not self.args.follow:  # else the rest of the line is still to come
                    offset += len(line)
                    a.batch.append((line.rstrip(b"\r\n"), offset))
        a.asked, a.asked_on = deque({word for word, _ in a.batch if word not in a.values}), None
        a.at_end = not a.batch and not self.args.follow
        return bool(a.batch)

    def pump(self, a: Attempt) -> None:  # sends what is due, as far as the window allows, and releases output
        while a.sent and a.sent[0][1].seq <= a.acknowledged:
            a.sent.popleft()
        if a.asked and a.asked_on is not self.stream:
            a.asked_on, a.request_id = self.stream, a.request_id + 1
            section = dict(state_id=a.state_id, key_lengths=map(len, a.asked), keys=b"".join(a.asked))
            self.send("get", pb.Get(request_id=a.request_id, sections=[section]))
        late = time.monotonic() - a.dirty_since > DIRTY_SECONDS or len(a.dirty) > DIRTY_KEYS
        if a.at_end or (late if a.checkpoints else not a.batch):  # 5.8
            a.seal()
        if a.held and (a.checkpoints or not (a.batch or a.unsent or a.sent)):
            print("\n".join(a.held), flush=True)
            a.held.clear()
        if a.at_end and not (a.finished or a.unsent or a.sent):  # 8.2
            a.finished = True
            a.unsent.append(("finished", pb.Finished(positions=[a.position])))
        limits = a.stream.welcome.limits
        while a.unsent and len(a.sent) < limits.flushes_in_flight and (
                sum(f.ByteSize() for _, f in a.sent) + limits.flush_bytes <= limits.flush_bytes_in_flight):
            a.sent.append(a.unsent.popleft())
            a.seq = a.sent[-1][1].seq = a.seq + 1
            self.send(*a.sent[-1])
        self.attempt = None if a.finished and not (a.unsent or a.sent) else a

def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", required=True)
    parser.add_argument("--job", required=True)
    parser.add_argument("--checkpoint-interval", dest="interval", type=int, default=1000, help="ms; 0: none")
    parser.add_argument("--follow", action="store_true", help="wait for more lines at the end of the file")
    parser.add_argument("--throttle-us", type=int, default=0, help="pause after each record")
    client = Client(parser.parse_args())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit("minimal.py: stopped by a signal"))
    try:
        client.run()
    except grpc.RpcError as error:
        sys.exit(f"minimal.py: {error.code().name}: {error.details()}")
    finally:  # 8.3
        if client.stream:
            client.stream.outgoing.put(None)
            client.stream.ended.wait(5)
    if client.job_ended.status != job.JOB_STATUS_FINISHED:
        sys.exit(f"minimal.py: {job.JobStatus.Name(client.job_ended.status)}: {client.job_ended.reason.message}")

if __name__ == "__main__":
    main()
