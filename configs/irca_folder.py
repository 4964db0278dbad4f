"""IRCA on an acquisition of monochromatic sources.

python train.py --config=configs/irca_folder.py --config.data.root=DIR
python train.py --config=configs/irca_folder.py --config.data.root=DIR
  --config.preset=imspoc_uv_2

DIR holds data.npy [interferometers sources] and central_wavenumbers.npy
[sources] in 1/um, and may hold mean.npy, norm.npy and options.json
(protojax/datasets/acquisition.py). A preset is the window in which the authors
look for the OPDs of one of their devices. 319 interferometers of 451 sources
take half a minute on two cores.
Variants: `:parity` does not bound the reflectivity, as the authors' code;
`:single` computes in float32; `:debug` runs on an embedded made-up device.
"""

from ml_collections import ConfigDict

from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = ConfigDict(
    {
      "method": "irca",
      # Nothing is drawn: all seeds give the same.
      "seed": 0,
      "seeds": 1,
      "init_from": "",
      "save_seconds": 60.0,
      # Interferometers that are fitted at once.
      "batch_size": 1024,
      # imspoc_uv_1, imspoc_uv_2, imagaz_1 or wfai_1; '': another device.
      "preset": "",
      # "float32" for accelerators that have no float64.
      "precision": "float64",
      # Waves that interfere; 0: infinitely many, Airy's distribution.
      "waves": 0,
      # Whether a sigmoid keeps the reflectivity between 0 and 1.
      "bounded": True,
      # Of the polynomials in the wavenumber.
      "degrees": {"reflectivity": 5, "gain": 5},
      # What step 3 fits; the rest stays as steps 1 and 2 found it.
      "free": ("opd", "phase", "reflectivity", "gain"),
      "data": {
        "name": "acquisition",
        "root": "",
        # A device's sheet (JSON), or the step of the OPDs in um, in place of
        # options.json.
        "sheet": "",
        "opd_step": 0.0,
      },
      # OPDs to try; the smallest one, and how far from the nominal one to look,
      # in shares of the largest (-1: the preset's); what the height of a fringe
      # means: "two-wave" or "airy".
      "start": {
        "samples": 10000,
        "minimum": -1.0,
        "span": -1.0,
        "inversion": "two-wave",
      },
      # solver: "cholesky" or "qr"; '': by the precision. loss: "squares",
      # "huber" or "cauchy", which trust residuals above `scale` less.
      # staircase: cost of an OPD 1 um off the line of all. covariance: False
      # keeps deviations alone, for millions of interferometers.
      "refine": {
        "steps": 100,
        "tolerance": 1e-10,
        "solver": "",
        "loss": "squares",
        "scale": 0.1,
        "staircase": 0.0,
        "covariance": True,
      },
      # Distance from the line in um from which an OPD is flagged.
      "flags": {"staircase": 1.0},
    }
  )
  return apply(config, variants, VARIANTS)


VARIANTS = {
  "parity": {"bounded": False},
  "single": {"precision": "float32"},
  "debug": {
    "data": {"name": "simulated_acquisition", "root": ""},
    "degrees": {"reflectivity": 2, "gain": 3},
    "start": {"samples": 1000, "span": 1.0},
  },
}
