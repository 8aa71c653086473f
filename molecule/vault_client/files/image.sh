#!/bin/sh
# Image of the scenario, from one static program: an app that needs its secret to start and answers with a mark of it, never with itself.
set -eu
root=/var/tmp/image
image=127.0.0.1:5000/demo:1.0.0
mkdir -p "$root/bin" "$root/etc" "$root/tmp"
cp /usr/bin/busybox "$root/bin/"
for name in sh httpd env sha256sum mkdir printf; do ln -sf busybox "$root/bin/$name"; done
echo 'app:x:1000:1000::/:/bin/sh' >"$root/etc/passwd"
# The app's process keeps the environment; what it serves is made of it at its start.
start='test -n "$API_KEY" || exit 3; mkdir -p /tmp/www; printf %s "$API_KEY $CACHE_URL" | sha256sum >/tmp/www/health; exec httpd -f -p 8080 -h /tmp/www'
tar -C "$root" -c . | docker import --change 'USER 1000:1000' --change 'ENTRYPOINT ["/bin/sh","-c"]' \
    --change "CMD [\"$(printf %s "$start" | sed 's/"/\\"/g')\"]" - "$image"
docker push --quiet "$image"
docker inspect --format '{{index .RepoDigests 0}}' "$image" >/var/tmp/image.pinned
docker rmi "$image"
