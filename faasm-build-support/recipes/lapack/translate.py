"""Makes C of LAPACK's Fortran with f2c, for callers in C: translate.py OUT FILE...

f2c knows Fortran 77, and LAPACK uses a little of what came later. Those statements are written in other words first. What f2c
writes is changed in two ways: subroutines have no result, and the lengths of strings are not passed. C programs declare LAPACK
so, and WebAssembly calls no function that is declared otherwise than it is defined.
"""

import os
import re
import subprocess
import sys

# BLAS has these, with the lengths.
WITH_LENGTHS = {"xerbla_", "lsame_"}


def fortran77(lines, name):
    """The statements in Fortran 77, without comments, of which f2c puts up with few."""
    loops, exits = [], 0
    for line in lines:
        line = line.rstrip()
        if not line or line[0] in "*cC!":
            continue
        head, text = line[:6], line[6:72].strip()
        text = re.sub(r"^RECURSIVE\s*", "", text)
        text = re.sub(r",\s*INTENT\(IN\)\s*::", "", text)
        text = re.sub(r",\s*MAXLOC\b(?! *\()", "", text)
        text = re.sub(r"\bMAXLOC\( WORK\( \(?(.*?)\)?:\(?(.*?)\)? \), 1 \)", r"IXMAXL( \2-(\1)+1, WORK( \1 ) )", text)
        text = text.replace("IXMAXL", "ISMAXL" if name[0] in "sc" else "IDMAXL")
        if name.startswith("z"):
            text = re.sub(r"\bAIMAG *\(", "DIMAG(", text)
            text = re.sub(r"\bREAL *\(", "DBLE(", text)
        if re.match(r"DO\s+[A-Z]", text):
            loops.append(None)
        if re.search(r"\bEXIT$", text):
            exits += 1
            loops[-1] = 90000 + exits
            text = re.sub(r"EXIT$", f"GO TO {loops[-1]}", text)
        section = re.fullmatch(r"(\w+)\((\d+):(\d+)\) = (.*)", text)
        if section:
            array, first, last, value = section.groups()
            for index in range(int(first), int(last) + 1):
                yield f"      {array}({index}) = {value}"
            continue
        assert len(text) <= 66, f"{name}: {text}"
        yield head + text
        if re.match(r"END\s*DO\b", text):
            label = loops.pop()
            if label:
                yield f"{label:5} CONTINUE"


def without_lengths(code):
    """The translation with C's convention for calls."""
    result, position = [], 0
    for call in re.finditer(r"\b([a-z]\w*_)\s*\(", code):
        if call.group(1) in WITH_LENGTHS:
            continue
        end, depth = call.end(), 1
        while depth:
            depth += {"(": 1, ")": -1}.get(code[end], 0)
            end += 1
        if end <= position:
            continue
        result.append(code[position : call.end()])
        arguments = code[call.end() : end]
        arguments = re.sub(r",\s*\(\s*ftnlen\)\s*\d+|,\s*ftnlen(\s+\w+)?|,\s*(name|opts)_len\b", "", arguments)
        result.append(without_lengths(arguments))
        position = end
    return "".join(result) + code[position:]


def translated(source):
    name = os.path.basename(source).split(".")[0]
    with open(source, encoding="latin-1") as file:
        lines = list(fortran77(file, name))
    f2c = ["f2c", "-a", "-R", "-A", "-w"]
    run = subprocess.run(f2c, input="\n".join(lines) + "\n", capture_output=True, text=True, check=False)
    if run.returncode != 0:
        sys.exit(f"{source}: {run.stderr}")
    code = without_lengths(run.stdout[run.stdout.index("#include") :])
    code = re.sub(r"/\* Subroutine \*/\s*int\b", "void", code).replace("return 0;", "return;")
    # Names of routines are literals everywhere.
    return name, code.replace("name_len", "(ftnlen)strlen(name__)")


def main(out, sources):
    for source in sources:
        name, code = translated(source)
        with open(os.path.join(out, name + ".c"), "w") as file:
            file.write(code)


main(sys.argv[1], sys.argv[2:])
