"""tf2_msgs for tests on a machine without it: there is no wheel, so the compiler makes it.

Every ROS 2 brings tf2_msgs, and then it is taken. The client library's wheels bring the generators
of rosidl and the headers, but not what calls them under CMake: here they are called one by one, and
what they write is one extension module.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PACKAGE = "tf2_msgs"
_PREFIX = Path(sys.prefix)
_USED = ("geometry_msgs", "std_msgs", "builtin_interfaces")
_IDL = """#include "geometry_msgs/msg/TransformStamped.idl"
module tf2_msgs { module msg { struct TFMessage {
  sequence<geometry_msgs::msg::TransformStamped> transforms;
}; }; };
"""


def folder_name() -> str:
    """Of what is made for this interpreter and these wheels."""
    prefix = hashlib.blake2b(str(_PREFIX).encode(), digest_size=4).hexdigest()
    return f"{PACKAGE}-{sys.implementation.cache_tag}-{prefix}"


def provide(folder: Path) -> str:
    """Let `import tf2_msgs` work; else the reason why it does not.

    folder: kept between test runs, so that only the first one compiles.
    """
    if importlib.util.find_spec(PACKAGE) is not None:
        return ""
    compiler = shutil.which("g++")
    if compiler is None:
        return "tf2_msgs is not installed, and there is no g++ to make it"
    module = folder / PACKAGE / f"{PACKAGE}_s__rosidl_typesupport_c.so"
    if not module.is_file():
        try:
            sources = _generate(folder)
            _compile(compiler, folder, sources, module)
        except (ImportError, OSError, subprocess.CalledProcessError) as error:
            told = getattr(error, "stderr", "") or error
            return f"tf2_msgs is not installed, and could not be made: {told}"
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    return ""


def _generate(folder: Path) -> list[Path]:
    """Write the package `tf2_msgs` and its C sources into the folder."""
    os.environ.setdefault("AMENT_PREFIX_PATH", str(_PREFIX))
    from rosidl_generator_c import generate_c
    from rosidl_generator_py import generate_py
    from rosidl_generator_type_description import generate_type_hash
    from rosidl_typesupport_c import generate_c as generate_dispatch
    from rosidl_typesupport_fastrtps_c import generate_typesupport_fastrtps_c

    package = folder / PACKAGE
    (package / "msg").mkdir(parents=True, exist_ok=True)
    (folder / "msg").mkdir(exist_ok=True)
    (folder / "msg" / "TFMessage.idl").write_text(_IDL)
    (package / "__init__.py").write_text("")
    _run(generate_type_hash, "", folder)
    _run(generate_c, "rosidl_generator_c", folder)
    _run(generate_typesupport_fastrtps_c, "rosidl_typesupport_fastrtps_c", folder)
    supports = ["rosidl_typesupport_fastrtps_c"]
    _run(lambda path: generate_dispatch(path, supports), "rosidl_typesupport_c", folder)
    _run(lambda path: generate_py(path, ["rosidl_typesupport_c"]), "rosidl_generator_py", folder)
    for template in ("rosidl_generator_c", "rosidl_typesupport_fastrtps_c"):
        _write_visibility(template, package / "msg")
    return sorted([*package.rglob("*.c"), *package.rglob("*.cpp")])


def _run(generate: Callable[[str], Any], template: str, folder: Path) -> None:
    share = _PREFIX / "share"
    used = [path for name in _USED for path in sorted((share / name / "msg").glob("*.idl"))]
    arguments = {
        "package_name": PACKAGE,
        "output_dir": str(folder / PACKAGE),
        "template_dir": str(share / template / "resource"),
        "idl_tuples": [f"{folder}:msg/TFMessage.idl"],
        "ros_interface_dependencies": [f"{path.parts[-3]}:{path}" for path in used],
        "target_dependencies": [],
        "include_paths": [f"{name}:{share / name}" for name in _USED],
        "type_description_tuples": [
            f"msg/TFMessage.idl:{folder / PACKAGE / 'msg' / 'TFMessage.json'}"
        ],
    }
    path = folder / "arguments.json"
    path.write_text(json.dumps(arguments))
    generate(str(path))


def _write_visibility(template: str, folder: Path) -> None:
    """What CMake makes of a template: every symbol may be seen, as all is one module."""
    name = f"{template}__visibility_control.h"
    source = (_PREFIX / "share" / template / "resource" / f"{name}.in").read_text()
    filled = source.replace("@PROJECT_NAME@", PACKAGE).replace("@PROJECT_NAME_UPPER@", "TF2_MSGS")
    (folder / name).write_text(filled)


def _compile(compiler: str, folder: Path, sources: list[Path], module: Path) -> None:
    """One module of everything, in which Python finds the message and DDS its type support."""
    include = _PREFIX / "include"
    headers = [folder, sysconfig.get_paths()["include"], np.get_include(), include]
    headers += [path for path in include.iterdir() if path.is_dir()]
    libraries = [
        _PREFIX / "lib" / f"lib{name}__{kind}.so"
        for name in ("geometry_msgs",)
        for kind in ("rosidl_generator_c", "rosidl_generator_py", "rosidl_typesupport_fastrtps_c")
    ]
    libraries += [
        _PREFIX / "lib" / f"lib{name}.so"
        for name in ("rosidl_runtime_c", "rosidl_typesupport_c", "rosidl_typesupport_fastrtps_c")
    ]
    flags = [f"-I{path}" for path in headers]
    objects = []
    for source in sources:
        language = ["-x", "c"] if source.suffix == ".c" else ["-std=c++17"]
        objects.append(source.with_suffix(".o"))
        command = [compiler.replace("g++", "gcc") if source.suffix == ".c" else compiler]
        command += [*language, "-O1", "-fPIC", "-w", "-c", str(source), "-o", str(objects[-1])]
        subprocess.run([*command, *flags], check=True, capture_output=True, text=True)
    link = [compiler, "-shared", "-o", f"{module}.part", *map(str, objects), *map(str, libraries)]
    link.append(f"-Wl,-rpath,{_PREFIX / 'lib'}")
    subprocess.run(link, check=True, capture_output=True, text=True)
    Path(f"{module}.part").replace(module)
