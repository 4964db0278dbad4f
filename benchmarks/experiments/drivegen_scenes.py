"""A detector on embedded road scenes: what images of other conditions bring.

All arms see the same 300 scenes and take as many steps. "clear" sees them
clear alone; "true conditions", in snow, fog, at night and with noise, too: no
generated image can teach more. Tested on other scenes, each in all conditions.
"shifted" is the mean over those but clear.
"""

QUESTION = (
  "What do images of other conditions bring a detector on clear scenes?"
)

_FILE = "configs/drivegen_scenes.py"
_SMALL = {"steps": 300, "batch_size": 16, "data.scenes": (300, 60)}

ARMS = {
  "clear": (_FILE, _SMALL),
  "true conditions": (f"{_FILE}:oracle", _SMALL),
}

FIGURES = {
  "AP 2D, clear": "ap_2d_clear",
  "AP 2D, shifted": "ap_2d_shifted",
  "AP BEV, clear": "ap_bev_clear",
  "AP BEV, shifted": "ap_bev_shifted",
  "AP 3D, clear": "ap_3d_clear",
  "AP 3D, shifted": "ap_3d_shifted",
}

SEEDS = (0, 1, 2)
