"""A small GGUF v3 writer and reader: what this model's file needs, no more."""
import struct

import numpy as np

MAGIC, VERSION, ALIGNMENT = b"GGUF", 3, 32
F32, Q8_0 = 0, 8
U32, I32, FLOAT, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9


def quantize_q8_0(x):
    """float32 [rows, cols] to blocks of 32: a half-precision scale and 32 signed bytes (round half away from zero)."""
    blocks = np.ascontiguousarray(x, np.float32).reshape(-1, 32)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)
    inverse = np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale > 0)
    scaled = blocks * inverse
    quants = (np.sign(scaled) * np.floor(np.abs(scaled) + 0.5)).astype(np.int8)
    out = np.empty((len(blocks), 34), np.uint8)
    out[:, :2] = scale.astype(np.float16).view(np.uint8)
    out[:, 2:] = quants.view(np.uint8)
    return out.tobytes()


def dequantize_q8_0(data, shape):
    blocks = np.frombuffer(data, np.uint8).reshape(-1, 34)
    scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)
    return (blocks[:, 2:].copy().view(np.int8) * scale).reshape(shape)


def _string(text):
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(kind, value):
    if kind == STRING:
        return _string(value)
    return struct.pack({U32: "<I", I32: "<i", FLOAT: "<f", BOOL: "<?"}[kind], value)


def _entry(key, kind, value):
    head = _string(key)
    if isinstance(kind, tuple):                       # (ARRAY, element kind)
        body = struct.pack("<IQ", kind[1], len(value)) + b"".join(_value(kind[1], v) for v in value)
        return head + struct.pack("<I", ARRAY) + body
    return head + struct.pack("<I", kind) + _value(kind, value)


def write(path, metadata, tensors):
    """metadata: [(key, kind, value)]; tensors: [(name, float32 array)]. Matrices become Q8_0, vectors stay F32."""
    infos, blobs, offset = [], [], 0
    for name, array in tensors:
        kind = Q8_0 if array.ndim == 2 else F32
        blob = quantize_q8_0(array) if kind == Q8_0 else np.ascontiguousarray(array, np.float32).tobytes()
        dims = array.shape[::-1]                      # the contiguous dimension comes first
        infos.append(_string(name) + struct.pack("<I", len(dims)) + b"".join(struct.pack("<Q", d) for d in dims) + struct.pack("<IQ", kind, offset))
        blobs.append(blob + bytes(-len(blob) % ALIGNMENT))
        offset += len(blobs[-1])
    head = MAGIC + struct.pack("<IQQ", VERSION, len(tensors), len(metadata))
    head += b"".join(_entry(*m) for m in metadata) + b"".join(infos)
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % ALIGNMENT) + b"".join(blobs))


class _Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, fmt):
        value = struct.unpack_from("<" + fmt, self.data, self.at)[0]
        self.at += struct.calcsize("<" + fmt)
        return value

    def string(self):
        n = self.take("Q")
        self.at += n
        return self.data[self.at - n:self.at].decode()

    def value(self, kind):
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            element, n = self.take("I"), self.take("Q")
            return [self.value(element) for _ in range(n)]
        return self.take({U32: "I", I32: "i", FLOAT: "f", BOOL: "?"}[kind])


def read(path):
    """(metadata, {name: float32 array}) of a file that `write` made."""
    with open(path, "rb") as f:
        r = _Reader(f.read())
    assert r.data[:4] == MAGIC, "not a GGUF file"
    r.at = 8
    n_tensors, n_keys = r.take("Q"), r.take("Q")
    metadata = {}
    for _ in range(n_keys):
        key = r.string()
        metadata[key] = r.value(r.take("I"))
    infos = []
    for _ in range(n_tensors):
        name = r.string()
        dims = [r.take("Q") for _ in range(r.take("I"))]
        infos.append((name, dims[::-1], r.take("I"), r.take("Q")))
    base = r.at + -r.at % ALIGNMENT
    tensors = {}
    for name, shape, kind, offset in infos:
        count = int(np.prod(shape))
        size = count // 32 * 34 if kind == Q8_0 else count * 4
        blob = r.data[base + offset:base + offset + size]
        tensors[name] = dequantize_q8_0(blob, shape) if kind == Q8_0 else np.frombuffer(blob, np.float32).reshape(shape)
    return metadata, tensors
