# A JavaScript front end behind a small server, with assets from three stages.
ARG NODE=22
FROM node:${NODE} AS deps
WORKDIR /app
COPY --parents package*.json ./packages/*/package.json ./
RUN --mount=type=cache,target=/root/.npm npm ci --no-audit

FROM deps AS build
ARG API_URL=https://api.example.com
ARG NODE_ENV=production
ENV NODE_ENV=$NODE_ENV
COPY . .
RUN npm run build -- --base="${API_URL%/}/static"

FROM node:22 AS styles
WORKDIR /css
ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d \
    https://example.com/themes/base.css /css/base.css
ADD theme.tar.xz fonts/ /css/
RUN ["node", "-e", "require('fs').readdirSync('/css')"]

FROM web AS site
COPY --from=build --chown=www:www --exclude=**/*.map /app/dist/ ./
COPY --from=styles /css ./css/
COPY --from=0 /app/package.json .
COPY <<config <<-mime /etc/web/
root = "$ROOT"
listen = "[::]:80"
config
	text/css css
	text/html html htm
	mime
RUN cat <<one > /srv/one.txt && cat <<two > /srv/two.txt
first $ROOT
one
second
two
EXPOSE 80 443/TCP
HEALTHCHECK CMD wget -q -O- localhost || exit 1
CMD exec httpd -f -p 80
