"""A GGUF file with other metadata and more tensors: the demo model as an embedding model, a reranker, another family."""

import struct

import numpy as np

ALIGNMENT = 32
F32, UINT32, STRING, ARRAY = 0, 4, 8, 9
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


def _string(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


class _Cursor:
    def __init__(self, data, at):
        self.data, self.at = data, at

    def take(self, fmt):
        value = struct.unpack_from("<" + fmt, self.data, self.at)[0]
        self.at += struct.calcsize("<" + fmt)
        return value

    def skip_string(self):
        length = self.take("Q")
        self.at += length

    def skip_value(self, kind):
        if kind == STRING:
            self.skip_string()
        elif kind == ARRAY:
            element, count = self.take("I"), self.take("Q")
            for _ in range(count):
                self.skip_value(element)
        else:
            self.at += SIZES[kind]


def edit(data, numbers=(), tensors=(), strings=()):
    """data with numbers [(key, value)] as uint32 and tensors [(name, float32 matrix)] added at the ends, and of strings [(old,
    new)] the one place in the metadata that is `old` (a value, an array's entry) replaced.
    """
    cursor = _Cursor(data, 8)
    num_tensors, num_keys = cursor.take("Q"), cursor.take("Q")
    for _ in range(num_keys):
        cursor.skip_string()
        cursor.skip_value(cursor.take("I"))
    keys_end = cursor.at
    for _ in range(num_tensors):
        cursor.skip_string()
        dimensions = cursor.take("I")
        cursor.at += 8 * dimensions + 12
    infos_end = cursor.at
    body = data[infos_end + -infos_end % ALIGNMENT :]
    body += bytes(-len(body) % ALIGNMENT)

    kept = data[24:keys_end]
    for old, new in strings:
        assert kept.count(_string(old)) == 1, old
        kept = kept.replace(_string(old), _string(new))
    keys = b"".join(_string(key) + struct.pack("<II", UINT32, value) for key, value in numbers)
    infos = b""
    for name, matrix in tensors:
        rows, columns = matrix.shape
        infos += _string(name) + struct.pack("<IQQIQ", 2, columns, rows, F32, len(body))
        body += np.ascontiguousarray(matrix, np.float32).tobytes()
        body += bytes(-len(body) % ALIGNMENT)
    head = data[:8] + struct.pack("<QQ", num_tensors + len(tensors), num_keys + len(numbers))
    head += kept + keys + data[keys_end:infos_end] + infos
    return head + bytes(-len(head) % ALIGNMENT) + body
