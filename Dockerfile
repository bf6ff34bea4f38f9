# Training on NVIDIA GPUs:
#   docker build -t ser_hf .
#   docker run --gpus all --shm-size 8g -v "$PWD:/workspace" ser_hf ser-hf train recipes/quickstart.yaml
# torch from PyPI brings its CUDA libraries; the host needs the driver and the NVIDIA container toolkit.
FROM python:3.12-slim

RUN apt-get update -qq \
    && apt-get install -yqq --no-install-recommends ffmpeg git \
    && rm -rf /var/lib/apt/lists/*
ENV PYTHONUNBUFFERED=1

WORKDIR /opt/ser_hf
COPY pyproject.toml setup.cfg setup.py README.md LICENSE ./
COPY .ci/constraints.txt .ci/
COPY ser_hf ser_hf
COPY hub_cards hub_cards
COPY recipes recipes
RUN pip install --no-cache-dir -c .ci/constraints.txt ".[sweep,tracking,onnx]"

# The caches of models, corpora and waveforms stay in the mounted folder.
ENV HF_HOME=/workspace/.cache/huggingface SER_HF_CACHE=/workspace/.cache/ser_hf
WORKDIR /workspace
CMD ["ser-hf", "--help"]
