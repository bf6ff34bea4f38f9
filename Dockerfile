# Training on NVIDIA GPUs:
#   docker build -t ser_hf .
#   docker run --gpus all --shm-size 8g -v "$PWD:/workspace" ser_hf ser-hf train recipes/quickstart.yaml
# The image has the CUDA version of torch in .ci/constraints.txt.
FROM nvidia/cuda:13.0.1-runtime-ubuntu24.04

RUN apt-get update -qq \
    && apt-get install -yqq --no-install-recommends python3 python3-venv libsndfile1 ffmpeg git \
    && rm -rf /var/lib/apt/lists/*
ENV VIRTUAL_ENV=/opt/venv PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
RUN python3 -m venv "$VIRTUAL_ENV"

# Dependencies first: they change less often than the code.
WORKDIR /opt/ser_hf
COPY pyproject.toml setup.cfg README.md LICENSE ./
COPY .ci/constraints.txt .ci/
COPY ser_hf ser_hf
COPY hub_cards hub_cards
RUN pip install --no-cache-dir -c .ci/constraints.txt ".[sweep,tracking,onnx]"

# The caches of models, corpora and waveforms stay in the mounted folder.
ENV HF_HOME=/workspace/.cache/huggingface SER_HF_CACHE=/workspace/.cache/ser_hf
WORKDIR /workspace
CMD ["ser-hf", "--help"]
