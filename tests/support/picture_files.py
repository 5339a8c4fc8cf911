"""Picture files of many kinds, good and bad, as bytes."""

import base64
import struct
import zlib

import cv2
import numpy as np

RED = (250, 10, 20)
HALVES = np.zeros((40, 60, 3), np.uint8)  # red above, black below: its orientation can be told
HALVES[:20] = RED

# made with Pillow: what OpenCV cannot write
CMYK_CYAN = zlib.decompress(
    base64.b85decode(
        "c-s4a<NrGbKF5^&q*R6!1`zmvo57iZmy?T|i-VV&i<^&+mtR;xR9HwzSY1X=TtQFM&_GX9SI5}O%g)%$&0I&<A>7f;$1f;2$jB}#F)ARz"
        "D=^6a{{aRO4h8`R0TyRL246vjNI?c~L5BZF7(^Ku85vLkJ5X3e09};f|1AbS7H0-uhDZi)1_pbE8Jeex=77X+0st82BE|"
    )
)
GIF_RED_THEN_BLACK = zlib.decompress(
    base64.b85decode(
        "c-nLKbhEHb6ky<BXk=jc#U;W31ByRc7+8U{4u}JiXW$TJVC0bT*s$PWGl#HN%!v&P54UqLGl5hxvNA9tR5mgo0bIJQ0hiJhL;"
    )
)
WEBP_RED_THEN_BLACK = zlib.decompress(
    base64.b85decode(
        "c-jl{baQKAU|<M$bqWXzu!!ISvYCLGpMim$fx*$w)0d3_1|0o--L&95hzgK$pgtc#AVZ)303!o?K<lgNi~cuuyr_rhP{Y*00Mfw+*C8PI"
        "m*2(ZKQjP<Y!$o"
    )
)

# made with pillow-heif
HEIC_HALVES = zlib.decompress(
    base64.b85decode(
        "c-muNV30{GsVvAy%}izhg51nBLl8SRGck>Ufw49>wIq=N0u(b+a*CjAhJwuG5(YG&l$nzcHpIn&fe{FSfN>#&1_CP}R?f`KO9S&jqM|@fDif5K"
        "QI>27V)7MamgK^f{LL&VDge@VGYgXQfpi&AnKL6ZNN56Bk=zG{KYxGxU|`^9P5|nVaA4$N{Qn=MfElEM8HD6^F*zgxCAFLw8PQ}GC^WK8d-Y`5"
        "&K(>X1`0qSW)Q)km;_YL=E8We_&_Jn65-_hoT9wsoC=^QF9TZxP)H=RxF8kkGY2TvNX|(Fxy%OYcnuK!|Ns9#K$;0izW~udEKrbHkqOes%)!9{"
        "q$Dy6a$$iC3^&$BCT7+aAloT7B@q<JW*Us^g&TIP5|*$3eMtD9>EyrmY6<7R)jwp|zwU*3tX<f~uyZfgF}^<%_#{rf<LSW{(;vQgvabLD|Hx|F"
    )
)


def encode(image: np.ndarray, suffix: str, *options: int) -> bytes:
    """An RGB (or gray, or RGBA) array as a file of the kind that the suffix names."""
    if image.ndim == 3:
        image = cv2.cvtColor(
            image, cv2.COLOR_RGB2BGR if image.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
        )
    return cv2.imencode(suffix, image, options)[1].tobytes()


def noise(height: int = 240, width: int = 320) -> np.ndarray:
    """(H, W, 3): a picture whose file is not tiny."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def chunk(kind: bytes, content: bytes) -> bytes:
    """Of a PNG."""
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png(
    width: int,
    height: int,
    *,
    depth: int = 8,
    color: int = 2,
    extra: bytes = b"",
    pixels: bytes = b"",
) -> bytes:
    """A PNG that says what it is told to say, true or not."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = [
        chunk(b"IHDR", header),
        extra,
        chunk(b"IDAT", zlib.compress(pixels)),
        chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def palette_png() -> bytes:
    return png(2, 2, color=3, extra=chunk(b"PLTE", bytes([0, 0, 0, *RED])), pixels=b"\0\1\1\0\1\1")


def with_orientation(jpeg: bytes, orientation: int, *, thumbnail: bytes = b"") -> bytes:
    """The JPEG with an EXIF segment, and perhaps another JPEG in it as cameras do."""
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x112, 3, 1, orientation, 0, 0)
    exif = b"Exif\0\0" + tiff + thumbnail
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]
