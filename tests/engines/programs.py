"Programs that stand in for Java and Maven."


def write_program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def write_java(folder, version):
    return write_program(folder / "bin/java", f"echo 'openjdk version \"{version}\"' >&2\n")


def names(folder):
    return sorted(path.name for path in folder.iterdir())
