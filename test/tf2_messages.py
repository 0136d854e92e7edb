"""tf2_msgs for tests on a machine without it: there is no wheel, so the compiler makes it.

Every ROS 2 brings tf2_msgs, and then it is taken. The client library's wheels bring the generators
of rosidl and the headers, but not what calls them under CMake: here they are called one by one.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import json
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
_MODULE = f"{PACKAGE}_s__rosidl_typesupport_c.so"
_SUPPORTS = ("rosidl_typesupport_fastrtps_c", "rosidl_typesupport_introspection_c")
_LIBRARIES = [f"lib{PACKAGE}__{name}.so" for name in _SUPPORTS]
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
    if not (folder / PACKAGE / _MODULE).is_file():
        try:
            _compile(compiler, folder, _generate(folder))
        except (ImportError, OSError, subprocess.CalledProcessError) as error:
            told = getattr(error, "stderr", "") or error
            return f"tf2_msgs is not installed, and could not be made: {told}"
    for name in _LIBRARIES:  # DDS asks for them by name, and what is loaded is found
        ctypes.CDLL(str(folder / PACKAGE / name))
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    return ""


def _generate(folder: Path) -> list[Path]:
    """Write the package `tf2_msgs` and its C sources into the folder."""
    from rosidl_generator_c import generate_c
    from rosidl_generator_py import generate_py
    from rosidl_generator_type_description import generate_type_hash
    from rosidl_typesupport_c import generate_c as generate_dispatch
    from rosidl_typesupport_fastrtps_c import generate_typesupport_fastrtps_c
    from rosidl_typesupport_introspection_c import generate_c as generate_introspection

    package = folder / PACKAGE
    (package / "msg").mkdir(parents=True, exist_ok=True)
    (folder / "msg").mkdir(exist_ok=True)
    (folder / "msg" / "TFMessage.idl").write_text(_IDL)
    (package / "__init__.py").write_text("")
    _run(generate_type_hash, "", folder)
    _run(generate_c, "rosidl_generator_c", folder)
    _run(generate_typesupport_fastrtps_c, "rosidl_typesupport_fastrtps_c", folder)
    # Its file would have the name of one of rosidl_generator_c.
    _run(generate_introspection, _SUPPORTS[1], folder, "introspection")
    _run(lambda path: generate_dispatch(path, list(_SUPPORTS)), "rosidl_typesupport_c", folder)
    _run(lambda path: generate_py(path, ["rosidl_typesupport_c"]), "rosidl_generator_py", folder)
    for template in ("rosidl_generator_c", *_SUPPORTS):
        _write_visibility(template, package / "msg")
    found = [*package.rglob("*.c"), *package.rglob("*.cpp")]
    return sorted([*found, *(folder / "introspection").rglob("*.c")])


def _run(generate: Callable[[str], Any], template: str, folder: Path, out: str = PACKAGE) -> None:
    share = _PREFIX / "share"
    used = [path for name in _USED for path in sorted((share / name / "msg").glob("*.idl"))]
    arguments = {
        "package_name": PACKAGE,
        "output_dir": str(folder / out),
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


def _compile(compiler: str, folder: Path, sources: list[Path]) -> None:
    """A library of everything, one of introspection, and the module by which Python has both."""
    include = _PREFIX / "include"
    headers = [folder, folder / "introspection", sysconfig.get_paths()["include"], np.get_include()]
    headers += [path for path in (include, *include.iterdir()) if path.is_dir()]
    # The header of introspection is included as one of the package.
    shutil.copytree(folder / "introspection", folder / PACKAGE, ignore=_code, dirs_exist_ok=True)
    objects: dict[str, list[str]] = {"module": [], "introspection": [], "library": []}
    for source in sources:
        made = str(source.with_suffix(".o"))
        kind = ["-x", "c"] if source.suffix == ".c" else ["-x", "c++", "-std=c++17"]
        flags = [*kind, "-O1", "-fPIC", "-w", *(f"-I{path}" for path in headers)]
        _call([compiler, *flags, "-c", str(source), "-o", made])
        part = "module" if "_s.c" in source.name or "_s.ep." in source.name else "library"
        objects["introspection" if "introspection" in source.parts else part].append(made)
    shared = [
        f"lib{name}.so"
        for name in (
            *(f"geometry_msgs__{kind}" for kind in ("rosidl_generator_c", *_SUPPORTS)),
            "geometry_msgs__rosidl_generator_py",
            "rosidl_runtime_c",
            "rosidl_typesupport_c",
            *_SUPPORTS,
        )
    ]
    linked = [str(_PREFIX / "lib" / name) for name in shared]
    linked += [f"-Wl,-rpath,{_PREFIX / 'lib'}", "-Wl,-rpath,$ORIGIN", f"-L{folder / PACKAGE}"]
    first, second = _LIBRARIES
    of_first = f"-l:{first}"
    for name, own, also in (
        (first, objects["library"], []),
        (second, objects["introspection"], [of_first]),
        (_MODULE, objects["module"], [of_first]),
    ):
        made = str(folder / PACKAGE / name)
        _call([compiler, "-shared", f"-Wl,-soname,{name}", "-o", made, *own, *also, *linked])


def _code(_: str, names: list[str]) -> list[str]:
    return [name for name in names if name.endswith((".c", ".o"))]


def _call(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
