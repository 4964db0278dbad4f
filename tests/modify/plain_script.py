"""The paper's procedure as a plain script: NumPy, Pillow and OpenCV.

One image, one modification and one prototype at a time, in float64; what
protojax computes must equal it.
"""

import io

import cv2
import numpy as np
from PIL import Image, ImageEnhance

NAMES = ("contrast", "saturation", "hue", "shape", "texture", "brightness")
_BY_OPENCV = ("shape", "texture")


def modify(image, name):
  """One change of the reference implementation, at its strength."""
  picture = Image.fromarray(image)
  if name == "contrast":
    return np.asarray(ImageEnhance.Contrast(picture).enhance(0.45))
  if name == "saturation":
    return np.asarray(ImageEnhance.Color(picture).enhance(0.7))
  if name == "brightness":
    return np.asarray(ImageEnhance.Brightness(picture).enhance(0.8))
  if name == "hue":
    return turned(image, 0.1)
  if name == "shape":
    return waves(image, 4, 0.05)
  return denoised(image, 4, 7, 21)


def turned(image, share):
  """Turns the hue by a share of a turn, as torchvision does."""
  hsv = np.array(Image.fromarray(image).convert("HSV"))
  hsv[..., 0] += np.uint8(int(share * 255) % 256)
  picture = Image.frombytes("HSV", hsv.shape[1::-1], hsv.tobytes())
  return np.asarray(picture.convert("RGB"))


def waves(image, amplitude, frequency):
  """Rows rolled along x, then columns along y."""
  image = image.copy()
  for y in range(image.shape[0]):
    shift = int(amplitude * np.sin(np.pi * y * frequency))
    image[y] = np.roll(image[y], shift, axis=0)
  for x in range(image.shape[1]):
    shift = int(amplitude * np.sin(np.pi * x * frequency))
    image[:, x] = np.roll(image[:, x], shift, axis=0)
  return image


def denoised(image, strength, template, search):
  """Non-local means of OpenCV."""
  bgr = np.ascontiguousarray(image[..., ::-1])
  windows = strength, strength, template, search
  return cv2.fastNlMeansDenoisingColored(bgr, None, *windows)[..., ::-1]


def by_pillow(image):
  """The image after Pillow's JPEG at its default quality, 75."""
  file = io.BytesIO()
  Image.fromarray(image).save(file, "JPEG")
  return np.asarray(Image.open(file))


def by_opencv(image):
  """The image after OpenCV's JPEG at its default quality, 95."""
  _, file = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]))
  return cv2.imdecode(file, cv2.IMREAD_COLOR)[..., ::-1]


def copies(image, size, codec="none"):
  """Name -> input of the network; "" is the unchanged image."""
  image = np.array(image)
  if codec == "none":
    made = {"": image, **{name: modify(image, name) for name in NAMES}}
  else:
    image = by_opencv(image)
    made = {"": image, "identity": by_pillow(image)}
    for name in NAMES:
      save = by_opencv if name in _BY_OPENCV else by_pillow
      made[name] = save(modify(image, name))
    made["identity_95"] = by_opencv(image)
  return {
    name: np.asarray(Image.fromarray(x).resize((size, size), Image.BILINEAR))
    for name, x in made.items()
  }


def explain(distances, images, size, codec="none"):
  """Local and global scores, by modification and prototype.

  Args:
    distances: network input [H, W, 3] -> squared distances [cells, p].
    images: of any sizes.
    size: of the network's input.
    codec: "none" or "reference".
  """
  local, numerator, denominator = [], 0.0, 0.0
  for image in images:
    seen = copies(image, size, codec)
    before = distances(seen.pop(""))
    seen = {"identity": None, **seen}
    scores = {name: np.zeros(before.shape[1]) for name in seen}
    for j in range(before.shape[1]):
      cell = before[:, j].argmin()
      g = similarity(before[cell, j])
      for name, copy in seen.items():
        if copy is not None:
          scores[name][j] = g - similarity(distances(copy)[cell, j])
    weight = similarity(before.min(axis=0))
    local.append(scores)
    numerator += np.stack([scores[name] * weight for name in scores])
    denominator += weight
  return local, numerator / denominator


def similarity(distance):
  """The log similarity of ProtoPNet."""
  return np.log((distance + 1) / (distance + 1e-4))
