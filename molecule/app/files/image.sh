#!/bin/sh
# Image of the scenario, from one static program: an app that answers /health.
set -eu
root=/var/tmp/image
image=127.0.0.1:5000/demo:1.0.0
mkdir -p "$root/bin" "$root/etc" "$root/tmp" "$root/www"
cp /usr/bin/busybox "$root/bin/"
for name in sh httpd env; do ln -sf busybox "$root/bin/$name"; done
echo 'app:x:1000:1000::/:/bin/sh' >"$root/etc/passwd"
printf '{"status":"ok","version":"1.0.0"}' >"$root/www/health"
tar -C "$root" -c . | docker import --change 'USER 1000:1000' --change 'ENTRYPOINT ["/bin/sh","-c"]' \
    --change 'CMD ["exec httpd -f -p 8080 -h /www"]' - "$image"
docker push --quiet "$image"
docker inspect --format '{{index .RepoDigests 0}}' "$image" >/var/tmp/image.pinned
docker rmi "$image"
