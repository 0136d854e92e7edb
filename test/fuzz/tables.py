"""Formats that are single files: poses, configurations, data sets, RobotCar, scores, weights."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import h5py
import numpy as np
import torch
from robotcar_world import write_sdk, write_world
from safetensors.torch import save_file
from scenes import smooth_scene
from scipy.io import savemat

from saane_ros.data.datasets import open_datasets, open_places
from saane_ros.data.datasets.registry import READERS, read_description
from saane_ros.data.images.folders import ImageFolder
from saane_ros.data.images.labelled import read_classes, read_counterparts
from saane_ros.data.poses.files import read_poses
from saane_ros.data.robotcar.extrinsics import camera_on_body
from saane_ros.data.robotcar.images import list_images, sampled
from saane_ros.data.robotcar.lens import read_lens_table, read_pinhole
from saane_ros.data.robotcar.poses import find_pose_record, read_pose_record
from saane_ros.evaluation.drives.suite import read_suite
from saane_ros.evaluation.systems import file_system
from saane_ros.paths import share_folder
from saane_ros.settings import read_settings, settings_from
from saane_ros.training.config import read_training_config
from saane_ros.training.evidence.material import read_evidence_config
from saane_ros.weights.card_files import load_card
from saane_ros.weights.feature_cards import load_feature_card
from saane_ros.weights.tensors import read_tensors


@dataclass(frozen=True)
class Files:
    """A good file. read: whether anything of it could be used."""

    name: str
    path: Path
    read: Callable[[], object]


TURN = "0.1 0.2 0.3 0.9273618"
ROWS = range(6)
POSE_TEXTS = {
    "columns.csv": "name,stamp,x,y,yaw\n" + "".join(f"i{i}.png,{i}.5,{i},2,0.1\n" for i in ROWS),
    "units.csv": "time_ms,x [mm],y,yaw_deg\n" + "".join(f"{i}000,{i}000,2,90\n" for i in ROWS),
    "gps.csv": "stamp_ns,lat,lon,alt\n" + "".join(f"{i}000000000,48.{i:04d},9,300\n" for i in ROWS),
    "short.csv": "filename,latitude,longitude\n" + "".join(f"i{i}.png,48.{i},9\n" for i in ROWS),
    "turns.txt": "# stamp tx ty tz qw qx qy qz\n" + "".join(f"{i} {i} 0 0 1 0 0 0\n" for i in ROWS),
    "tum.txt": "".join(f"17000000{i:02d}.25 {i} 0 0 {TURN}\n" for i in ROWS),
    "kitti.txt": "".join(f"1 0 0 {i} 0 1 0 0 0 0 1 0\n" for i in ROWS),
    "euroc.csv": "#timestamp [ns],p\n"
    + "".join(f"{i}000000000,{i},0,0,1,0,0,0,{','.join('000000000')}\n" for i in ROWS),
    "hloc.txt": "".join(f"i{i}.png 0.9273618 0.1 0.2 0.3 {i} 0 0\n" for i in ROWS),
    "images.txt": "# IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME\n"
    + "".join(f"{i} 1 0 0 0 {i} 0 0 1 i{i}.png\n1.5 2.5 -1\n" for i in ROWS),
}  # fmt: skip


def poses(folder: Path) -> list[Files]:
    """Each alone, and as that of a folder of images."""
    images = folder / "images"
    images.mkdir()
    for i in ROWS:
        (images / f"i{i}.png").touch()
    made = []
    for name, text in POSE_TEXTS.items():
        (folder / name).write_text(text)
        made.append(Files(name, folder / name, lambda p=folder / name: with_images(p, images)))
    return made


def with_images(path: Path, images: Path) -> bool:
    table = read_poses(path)
    assert (
        len(table.poses) == len(table.names or table.poses) == len(table.stamps_ns or table.poses)
    )
    ImageFolder(images, path).selected(2.0)
    return len(table.poses) > 0


def configurations(folder: Path) -> list[Files]:
    """The package's own files: cards, training, drives, parameters, classes, data sets."""
    share, made = share_folder(), []
    for pattern, read in (
        ("models/*.yaml", lambda p: load_card(p).descriptor_size + 1),
        ("models/features/*.yaml", lambda p: load_feature_card(p).reference),
        ("config/train/*.yaml", training_file),
        ("config/drives/*.yaml", read_suite),
        ("config/localizer.yaml", lambda p: settings_from(read_settings(p))),
        ("config/datasets/*.yaml", read_description),
    ):
        for path in sorted(share.glob(pattern)):
            own = folder / f"{path.parent.name}-{path.name}"
            shutil.copy(path, own)
            made.append(Files(own.name, own, lambda p=own, r=read: r(p)))
    return made


def training_file(path: Path) -> object:
    """By the second part of its name: `camvid.classes.yaml` is one of classes."""
    kind = path.suffixes[-2] if len(path.suffixes) > 1 else path.stem
    read = {
        ".classes": read_classes,
        ".counterparts": read_counterparts,
        "train-evidence": read_evidence_config,
    }
    return read.get(kind, read_training_config)(path)


def described(folder: Path, text: str) -> Callable[[], object]:
    """A data set's own file beside it, and how it is opened for an evaluation and for training."""
    path = folder.with_suffix(".yaml")
    path.write_text(f"{text}\nfolder: {folder.name}\n")
    places = READERS[read_description(path).reader].places

    def read() -> bool:
        opened = open_datasets(str(path))
        return bool(opened) and (places is None or len(open_places(str(path))) > 0)

    return read


def image(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), smooth_scene(seed, 16, 16))


def datasets(folder: Path) -> list[Files]:
    return [
        *ref_query(folder / "pairs"),
        *recorded(folder / "recorded"),
        *msls(folder / "msls"),
        *nordland(folder / "nordland"),
        *gsv_cities(folder / "gsv"),
        *st_lucia(folder / "lucia"),
        *pitts30k(folder / "pitts"),
    ]


def ref_query(root: Path) -> list[Files]:
    for i in ROWS:
        image(root / "ref" / f"{i}.png", i)
        image(root / "query" / f"{i}.png", i)
    path = root / "ground_truth.csv"
    rows = "".join(f"{i},{i} {i - 1}\n" for i in range(1, 6))
    path.write_text(f"query_index,correct_reference_indices\n{rows}")
    return [Files("ground truth", path, described(root, "reader: ref_query"))]


def recorded(root: Path) -> list[Files]:
    root.mkdir()
    np.savez(root / "a.npz", similarity=np.eye(4, 5))
    path = root / "ground_truth.csv"
    path.write_text("query_index,correct_reference_indices\n0,0 1\n1,\n2,2\n3,3\n")
    read = described(root, "reader: recorded")
    return [Files("recorded truth", path, read), Files("recorded scores", root / "a.npz", read)]


def msls(root: Path) -> list[Files]:
    made = []
    for part in ("query", "database"):
        place = root / "train_val" / "cph" / part
        place.mkdir(parents=True)
        posts, raws = ["key,easting,northing,unique_cluster"], ["key,pano"]
        for i in ROWS:
            image(place / "images" / f"k{i}.jpg", i)
            posts.append(f"k{i},{10 * i}.5,6170000.5,{i // 2}")
            raws.append(f"k{i},{i == 5}")
        (place / "postprocessed.csv").write_text("\n".join(posts) + "\n")
        (place / "raw.csv").write_text("\n".join(raws) + "\n")
        rows = "".join(f"{i},True,{i % 2 == 0}\n" for i in ROWS)
        (place / "subtask_index.csv").write_text(f",all,s2w\n{rows}")
        made += [place / name for name in ("postprocessed.csv", "raw.csv", "subtask_index.csv")]
    read = described(root, "reader: msls\ncities: [cph]\nprotocol: official\nsubtask: s2w")
    return [Files(f"msls {path.name} of {path.parent.name}", path, read) for path in made]


def nordland(root: Path) -> list[Files]:
    names = [f"images-{i:05d}.png" for i in ROWS]
    for i, name in enumerate(names):
        image(root / "summer" / name, i)
        image(root / "winter" / name, i)
    path = root / "cleanImageNames.txt"
    path.write_text("\n".join(names) + "\n")
    return [Files("nordland names", path, described(root, "reader: nordland"))]


def gsv_cities(root: Path) -> list[Files]:
    rows = ["place_id,year,month,northdeg,city_id,lat,lon,panoid"]
    for i in range(4):
        rows.append(f"3,{2010 + i},5,7,PRS,48.7973377,2.23146,p{i}")
        image(
            root / "Images" / "PRS" / f"PRS_0000003_{2010 + i}_05_007_48.7973377_2.23146_p{i}.jpg"
        )
    path = root / "Dataframes" / "PRS.csv"
    path.parent.mkdir()
    path.write_text("\n".join(rows) + "\n")
    return [Files("gsv cities", path, described(root, "reader: gsv_cities"))]


def st_lucia(root: Path) -> list[Files]:
    for session in ("day", "later"):
        (root / session).mkdir(parents=True)
        video = cv2.VideoWriter(
            str(root / session / "webcam_video.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 15, (64, 48)
        )
        for frame in range(45):
            video.write(np.full((48, 64, 3), frame, np.uint8))
        video.release()
        fixes = "".join(f"{27.5 - (i // 6) * 6e-5:.7f},153.0\n" for i in range(45))
        (root / session / "fGPS.txt").write_text(fixes)
    read = described(root, "reader: st_lucia\nreference: day\nqueries: [later]")
    return [Files("st lucia fixes", root / "later" / "fGPS.txt", read)]


def pitts30k(root: Path) -> list[Files]:
    names = [f"000/00000{i}_pitch1_yaw{i + 1}.jpg" for i in range(3)]
    for number, name in enumerate(names):
        image(root / name, number)
        image(root / "queries_real" / name, number)
    listed = np.array([[name] for name in names], object)
    metres = np.array([[0.0, 100.0, 20.0], [0.0, 0.0, 0.0]])
    values = {"whichSet": "test", "dbImageFns": listed, "utmDb": metres, "qImageFns": listed}
    values |= {"utmQ": metres, "numImages": 3.0, "numQueries": 3.0, "posDistThr": 25.0}
    record = np.empty((1, 1), [(name, object) for name in values])
    for name, value in values.items():
        record[name][0, 0] = value
    path = root / "datasets" / "pitts30k_test.mat"
    path.parent.mkdir()
    savemat(str(path), {"dbStruct": record})
    return [Files("pittsburgh struct", path, described(root, "reader: pitts30k"))]


def robotcar(folder: Path) -> list[Files]:
    """A traversal's lists and poses, and the files of the SDK."""
    traversal = folder / "2014-12-09-13-21-02"
    write_world(traversal, 1.0, (24, 32))
    write_sdk(folder, (24, 32))
    ins = traversal / "gps" / "ins.csv"
    header, *rows = ins.read_text().splitlines()
    columns = header.split(",")
    wanted = ("timestamp", "latitude", "longitude", "altitude", "northing", "easting", "down")
    picked = [columns.index(name) for name in (*wanted, "utm_zone")]
    gps = [",".join(line.split(",")[i] for i in picked) for line in (header, *rows)]
    (traversal / "gps" / "gps.csv").write_text("\n".join(gps) + "\n")
    dropped = columns.index("ins_status")
    rtk = [
        [*line.split(",")[:dropped], *line.split(",")[dropped + 1 :]] for line in (header, *rows)
    ]
    (traversal / "rtk.csv").write_text("\n".join(map(",".join, rtk)) + "\n")
    models, extrinsics = folder / "models", folder / "extrinsics"
    camera = models / "stereo_narrow_left.txt"
    table = models / "stereo_narrow_left_distortion_lut.bin"

    def track(path: Path) -> bool:
        find_pose_record(traversal)
        record = read_pose_record(path)
        return bool(record.sentences()) and len(record.track.stamps_ns) > 0

    def listing() -> int:
        found = list_images(traversal)
        return len(found.sentences()) + len(sampled(found.stamps_ns, 1.0))

    def lens() -> object:
        return camera_on_body(extrinsics, "stereo/centre", read_pinhole(models))

    tracks = [traversal / name for name in ("gps/ins.csv", "gps/gps.csv", "rtk.csv")]
    return [
        *(Files(path.name, path, lambda p=path: track(p)) for path in tracks),
        Files("timestamps", traversal / "stereo.timestamps", listing),
        Files("extrinsics", extrinsics / "stereo.txt", lens),
        Files("camera model", camera, lens),
        Files("lens table", table, lambda: read_lens_table(models, size=(24, 32))),
    ]


def scores(folder: Path) -> list[Files]:
    """Recorded scores and descriptors, searched in a data set that they fit."""
    for i in ROWS:
        image(folder / "set" / "ref" / f"{i}.png", i)
        image(folder / "set" / "query" / f"{i}.png", i)
    (dataset,) = open_datasets(str(folder / "set"))
    values = np.random.default_rng(0).normal(size=(12, 8)).astype(np.float32)
    np.savez(folder / "scores.npz", similarity=np.eye(6), encode_s=0.1, match_s_per_pair=1e-6)
    np.savez_compressed(folder / "descriptors.npz", queries=values[:6], references=values[6:])
    np.save(folder / "descriptors.npy", values)
    paths = [folder / name for name in ("scores.npz", "descriptors.npz", "descriptors.npy")]
    return [
        Files(path.name, path, lambda p=path: file_system(p).search(dataset).distances.size)
        for path in paths
    ]


def weights(folder: Path) -> list[Files]:
    """Tensors as every library writes them."""
    tensors = {"a.weight": torch.ones(3, 4), "a.bias": torch.zeros(3, dtype=torch.float16)}
    save_file(tensors, folder / "w.safetensors")
    torch.save({"state_dict": tensors}, folder / "w.pth")
    torch.save(tensors, folder / "old.pth", _use_new_zipfile_serialization=False)
    layers = np.empty(2, object)
    for number in range(2):
        parts = np.empty(2, object)
        parts[:] = np.ones((2, 3), np.float32), np.zeros(2, np.float32)
        layers[number] = {"weights": parts}
    meta = {"normalization": {"averageImage": np.ones((1, 1, 3), np.float32)}}
    savemat(str(folder / "net.mat"), {"net": {"layers": layers, "meta": meta}})
    with h5py.File(folder / "c.h5", "w") as file:
        file["centroids"] = np.ones((2, 3, 4), np.float32)
    names = ("w.safetensors", "w.pth", "old.pth", "net.mat", "c.h5")
    return [Files(name, folder / name, lambda p=folder / name: read_tensors(p)) for name in names]
