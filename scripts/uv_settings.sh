# To be sourced once .venv is there: hands pip's settings (find-links, index, certificate) to uv, which does not read them.

# One of pip's settings, wherever it stands (PIP_... before configuration files); lists come separated by commas.
pip_setting() {
    .venv/bin/python -m pip config list 2>/dev/null | .venv/bin/python -c '
import ast, sys

found = dict(line.rstrip().split("=", 1) for line in sys.stdin if "=" in line)
values = [found[f"{section}.{sys.argv[1]}"] for section in (":env:", "install", "global") if f"{section}.{sys.argv[1]}" in found]
print(",".join(ast.literal_eval(values[0]).split()) if values else "")' "$1"
}
links=$(pip_setting find-links) index=$(pip_setting index-url) cert=$(pip_setting cert)
[[ -z $links ]] || export UV_FIND_LINKS="${UV_FIND_LINKS:-$links}"
[[ -z $index ]] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"
[[ -z $cert ]] || export SSL_CERT_FILE="${SSL_CERT_FILE:-$cert}"
