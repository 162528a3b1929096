#!/usr/bin/python3
"""`understudy check` of real programs: check_test.py UNDERSTUDY STATIC-PROGRAM DYNAMIC-PROGRAM."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

understudy, static_program, dynamic_program = sys.argv[1:]


def check(*words: str, status: int) -> str:
    done = subprocess.run([understudy, "check", *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, f"{words}: status {done.returncode}, {done.stdout}{done.stderr}"
    assert done.stderr.count("\n") == (1 if status == 2 else 0), done.stderr
    return done.stdout if status != 2 else done.stderr


def check_json(name: str, status: int) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(check("--json", "--", name, status=status))
    assert result["runs"] == (status == 0)
    return result


def evidence(result: dict[str, Any], kind: str) -> list[str]:
    return [name for finding in result["findings"] if finding["kind"] == kind for name in finding["evidence"]]


def script(folder: Path, name: str, first_line: str) -> str:
    file = folder / name
    file.write_text(first_line + "\n", encoding="utf-8")
    file.chmod(0o755)
    return str(file)


def test_linking() -> None:
    static = check_json(static_program, 1)
    assert static["way"] == "seccomp" and "statically" in static["reason"], static
    assert "time" in evidence(static, "time"), static
    dynamic = check_json(dynamic_program, 0)
    assert dynamic["way"] == "preload", dynamic
    assert evidence(dynamic, "time") == ["time"], dynamic
    assert evidence(dynamic, "random") == ["getrandom", "/dev/urandom"], dynamic
    assert not evidence(dynamic, "threads"), dynamic
    text = check("--", dynamic_program, "with", "--its", "arguments", status=0)
    assert "way: preload" in text and "what helps: " in text, text


def test_scripts(folder: Path) -> None:
    outer = script(folder, "outer", f"#!{script(folder, 'inner', f'#!{dynamic_program} -x')}")
    through = check_json(outer, 0)
    assert through["scripts"] == [outer, str(folder / "inner")], through
    assert Path(through["file"]).samefile(dynamic_program), through
    by_env = check_json(script(folder, "by-env", f"#!/usr/bin/env -S A=b {static_program}"), 1)
    assert Path(by_env["file"]).samefile(static_program), by_env
    assert check_json(script(folder, "text", "no program"), 1)["way"] == "none"
    assert "without end" in check(script(folder, "endless", f"#!{folder}/endless"), status=2)
    assert "no such file" in check(script(folder, "orphan", "#!/nonexistent/interpreter"), status=2)


def test_refusals(folder: Path) -> None:
    assert "no program of that name" in check("nonesuch-program", status=2)
    (folder / "plain").write_text("x", encoding="utf-8")
    assert "not executable" in check(str(folder / "plain"), status=2)
    # What is damaged is no program, wherever it is cut.
    whole = Path(dynamic_program).read_bytes()
    for size in (4, 40, 64, 100, 600, len(whole) // 2, len(whole) - 1):
        cut = folder / f"cut-{size}"
        cut.write_bytes(whole[:size])
        cut.chmod(0o755)
        done = subprocess.run([understudy, "check", str(cut)], capture_output=True, timeout=60, check=False)
        assert done.returncode in (0, 1), f"{size} bytes: status {done.returncode}"


def test_privilege(folder: Path) -> None:
    # Root's own privileges are none that the file brings; somebody else's are.
    if os.geteuid() != 0:
        return
    for path in (folder, *folder.parents):
        if not os.stat(path).st_mode & 0o001:
            os.chmod(path, 0o711)
    privileged = shutil.copy(dynamic_program, folder / "privileged")
    os.chmod(privileged, 0o4755)
    assert check_json(str(privileged), 0)["way"] == "preload"


def test_servers() -> None:
    for name, kinds in (("redis-server", ("threads", "time", "random")), ("nginx", ("processes", "time"))):
        if shutil.which(name) is None:
            print(f"{name} is not installed")
            continue
        result = check_json(name, 0)
        assert result["way"] == "preload", result
        for kind in kinds:
            assert evidence(result, kind), f"{name}: nothing of {kind}: {result}"


with tempfile.TemporaryDirectory() as temporary:
    test_linking()
    test_scripts(Path(temporary))
    test_refusals(Path(temporary))
    test_privilege(Path(temporary))
    test_servers()
