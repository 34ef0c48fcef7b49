"""The configurations: what docs/deploy.md recommends, and what a run of a few seconds needs.

In each, ``@PORT@`` is the proxy's port, ``@APP@`` the app's, ``@DIR@`` a folder of the proxy's own
(with ``cert.pem``, ``key.pem`` and ``both.pem``), and ``@IDLE@`` the seconds after which the proxy
closes a connection without data.
"""

NGINX = """
daemon off;
master_process off;
pid @DIR@/nginx.pid;
error_log @DIR@/error.log;
events {
    worker_connections 20000;
}
http {
    access_log off;
    client_body_temp_path @DIR@/a;
    proxy_temp_path @DIR@/b;
    fastcgi_temp_path @DIR@/c;
    uwsgi_temp_path @DIR@/d;
    scgi_temp_path @DIR@/e;
    gzip on;
    gzip_types text/css text/javascript;
    server {
        listen 127.0.0.1:@PORT@@NGINX_TLS@;
        ssl_certificate @DIR@/cert.pem;
        ssl_certificate_key @DIR@/key.pem;
        proxy_read_timeout @IDLE@s;
        location / {
            proxy_pass http://127.0.0.1:@APP@;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-For $remote_addr;
        }
    }
}
"""

HAPROXY = """
global
    maxconn 5000
defaults
    mode http
    option http-no-delay
    option abortonclose
    option forwardfor
    timeout connect 5s
    timeout client @IDLE@s
    timeout server @IDLE@s
frontend web
    bind 127.0.0.1:@PORT@@HAPROXY_TLS@
    http-request set-header X-Forwarded-Proto https if { ssl_fc }
    default_backend app
backend app
    server app 127.0.0.1:@APP@
"""

_MODULES = "/usr/lib/apache2/modules"
APACHE = f"""
ServerRoot /etc/apache2
ServerName localhost
PidFile @DIR@/pid
ErrorLog @DIR@/error.log
DefaultRuntimeDir @DIR@
User www-data
Mutex file:@DIR@ default
LoadModule mpm_event_module {_MODULES}/mod_mpm_event.so
LoadModule authz_core_module {_MODULES}/mod_authz_core.so
LoadModule proxy_module {_MODULES}/mod_proxy.so
LoadModule proxy_http_module {_MODULES}/mod_proxy_http.so
LoadModule headers_module {_MODULES}/mod_headers.so
LoadModule ssl_module {_MODULES}/mod_ssl.so
LoadModule socache_shmcb_module {_MODULES}/mod_socache_shmcb.so
LoadModule http2_module {_MODULES}/mod_http2.so
Listen 127.0.0.1:@PORT@
Timeout @IDLE@
ThreadsPerChild 64
ServerLimit 16
MaxRequestWorkers 1024
<VirtualHost *:@PORT@>
    @APACHE_TLS@
    ProxyPreserveHost On
    ProxyPass / http://127.0.0.1:@APP@/ retry=0
    RequestHeader set X-Forwarded-Proto expr=%{{REQUEST_SCHEME}}
</VirtualHost>
"""
APACHE_TLS = """SSLEngine on
    SSLCertificateFile @DIR@/cert.pem
    SSLCertificateKeyFile @DIR@/key.pem
    Protocols h2 http/1.1"""

CADDY = """
{
    admin off
    auto_https off
}
@CADDY_SITE@ {
    @CADDY_TLS@
    encode zstd gzip
    reverse_proxy 127.0.0.1:@APP@
}
"""

VARNISH = """
vcl 4.1;
backend default {
    .host = "127.0.0.1";
    .port = "@APP@";
}
"""

LIGHTTPD = """
server.modules = ( "mod_proxy" )
server.port = @PORT@
server.bind = "127.0.0.1"
server.document-root = "@DIR@"
server.errorlog = "@DIR@/error.log"
server.stream-response-body = 1
proxy.server = ( "" => ( ( "host" => "127.0.0.1", "port" => @APP@ ) ) )
"""

SQUID = """
http_port 127.0.0.1:@PORT@
http_access allow localhost
cache deny all
pid_filename @DIR@/pid
cache_log @DIR@/cache.log
access_log none
coredump_dir @DIR@
pinger_enable off
shutdown_lifetime 1 second
read_timeout @IDLE@ seconds
"""

ENVOY = """
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: @PORT@}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          stream_idle_timeout: @IDLE@s
          route_config:
            virtual_hosts:
            - name: app
              domains: ["*"]
              routes:
              - match: {prefix: "/"}
                route: {cluster: app, timeout: 0s}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: app
    connect_timeout: 1s
    circuit_breakers:
      thresholds: [{max_connections: 20000, max_requests: 20000, max_pending_requests: 20000}]
    load_assignment:
      cluster_name: app
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: @APP@}}}}]}]
"""
