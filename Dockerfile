# Runs the demo on a CPU: docker build -t textvae . && docker run textvae
FROM python:3.11-slim
RUN apt-get update && apt-get install --no-install-recommends -y make && rm -rf /var/lib/apt/lists/*
WORKDIR /textvae
COPY . .
RUN make setup
CMD ["make", "demo"]
