import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import contract
import mediapipe_pose
import numpy as np
import pytest

SCRIPT = Path(mediapipe_pose.__file__)
IS_INSTALLED = importlib.util.find_spec("mediapipe") is not None


def test_landmarks_become_joints():
    landmarks = np.column_stack([np.arange(33) / 33, np.arange(33) / 66, np.full(33, 0.5)])
    keypoints, score = mediapipe_pose.person(landmarks, (330, 660))
    np.testing.assert_allclose(keypoints[0], [-0.5, -0.5, 0.5])  # the nose
    np.testing.assert_allclose(keypoints[16], [279.5, 279.5, 0.5])  # the right ankle, landmark 28
    assert score == 0.5
    assert len(keypoints) == 17


@pytest.mark.skipif(IS_INSTALLED, reason="MediaPipe is installed")
def test_without_mediapipe_the_peer_is_unavailable(words):
    done = subprocess.run(
        [sys.executable, SCRIPT, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == contract.UNAVAILABLE
    assert "mediapipe==0.10.21 is not installed" in done.stderr.splitlines()[-1]


@pytest.mark.skipif(not IS_INSTALLED, reason="MediaPipe is not installed")
def test_the_network_itself_sees_nobody_on_grey(words, tmp_path):
    assert subprocess.run([sys.executable, SCRIPT, *words], check=False).returncode == 0
    assert json.loads((tmp_path / "results.json").read_text()) == []
