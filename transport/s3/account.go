package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"github.com/waybill-project/waybill/transport/httpclient"
)

const (
	// credentialsTimeout is how long anybody may take who is asked for
	// credentials: SSO, STS, a container's endpoint, a process.
	credentialsTimeout = 30 * time.Second
	// exchangeTimeout is how long each exchange with them may take.
	exchangeTimeout = 10 * time.Second
	// machineTimeout is how long the machine's metadata service may take. It
	// answers from the machine's host, or there is none.
	machineTimeout = time.Second
)

// account is what the environment and the shared files say under one profile.
type account struct {
	profile  string // as the place names it
	config   aws.Config
	endpoint *url.URL // nil: Amazon's
	signer   *v4.Signer

	// lacking says that nobody but the machine's metadata service may have
	// credentials.
	lacking bool
	machine *aws.CredentialsCache
	once    sync.Once     // starts asking the machine
	asked   chan struct{} // closed when it has answered, or had its time
	found   bool          // it has credentials; settled when asked is closed
}

// loadAccount reads the environment and the shared files, and asks nobody.
func loadAccount(ctx context.Context, profile string) (*account, error) {
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(exchangeTimeout).WithTransportOptions(func(t *http.Transport) {
			t.DisableKeepAlives = true // they are asked once an hour
		})),
		config.WithDefaultsMode(aws.DefaultsModeStandard), // "auto" asks the metadata service where it is
	}
	if profile != "" {
		options = append(options, config.WithSharedConfigProfile(profile))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	var none config.SharedConfigProfileNotExistError
	if errors.As(err, &none) {
		return nil, fmt.Errorf("no profile %q in the shared AWS files (~/.aws/config and ~/.aws/credentials, or where AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE say)", none.Profile)
	}
	if err != nil {
		return nil, fmt.Errorf("AWS configuration: %s", httpclient.OneLine(err.Error()))
	}
	a := &account{profile: profile, config: cfg, signer: newSigner(), asked: make(chan struct{})}
	if a.endpoint, err = configuredEndpoint(ctx, cfg); err != nil {
		return nil, err
	}
	if sourced, ok := cfg.Credentials.(aws.CredentialProviderSource); ok {
		a.lacking = slices.Equal(sourced.ProviderSources(), []aws.CredentialSource{aws.CredentialSourceIMDS})
	}
	a.machine = aws.NewCredentialsCache(ec2rolecreds.New(func(o *ec2rolecreds.Options) {
		o.Client = imds.NewFromConfig(cfg, func(o *imds.Options) {
			o.Retryer = aws.NopRetryer{}
			o.HTTPClient = &http.Client{
				Timeout:   machineTimeout,
				Transport: &http.Transport{DisableKeepAlives: true}, // never through a proxy
			}
		})
	}))
	return a, nil
}

// configuredEndpoint returns what AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or the
// profile's endpoint_url say ("Service-specific endpoints" in the AWS SDKs and
// Tools Reference Guide), or nil.
func configuredEndpoint(ctx context.Context, cfg aws.Config) (*url.URL, error) {
	ignore, _, err := config.GetIgnoreConfiguredEndpoints(ctx, cfg.ConfigSources)
	if err != nil || ignore {
		return nil, err
	}
	endpoint := aws.ToString(cfg.BaseEndpoint)
	for _, source := range cfg.ConfigSources {
		services, ok := source.(interface {
			GetServiceBaseEndpoint(context.Context, string) (string, bool, error)
		})
		if !ok {
			continue
		}
		s, found, err := services.GetServiceBaseEndpoint(ctx, "S3")
		if err != nil {
			return nil, fmt.Errorf("AWS configuration: %s", httpclient.OneLine(err.Error()))
		}
		if found {
			endpoint = s
			break
		}
	}
	if endpoint == "" {
		return nil, nil
	}
	u, err := parseEndpoint(endpoint)
	if err != nil {
		return nil, fmt.Errorf("AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or endpoint_url in the shared files: %w", err)
	}
	return u, nil
}

// errNoCredentials is why a request is made without any.
var errNoCredentials = errors.New("no credentials")

// credentials returns those to sign with, or errNoCredentials. Those of the
// machine are only used once askMachine has found some, and where the caller
// allows it.
func (a *account) credentials(ctx context.Context, machine bool) (aws.Credentials, error) {
	provider := a.config.Credentials
	if a.lacking {
		if !machine {
			return aws.Credentials{}, errNoCredentials
		}
		provider = a.machine
	}
	if provider == nil {
		return aws.Credentials{}, errNoCredentials
	}
	asking, cancel := context.WithTimeout(ctx, credentialsTimeout)
	defer cancel()
	creds, err := provider.Retrieve(asking)
	switch {
	case ctx.Err() != nil:
		return aws.Credentials{}, httpclient.ContextError(ctx)
	case asking.Err() != nil:
		return aws.Credentials{}, fmt.Errorf("no answer within %v", credentialsTimeout)
	case err != nil:
		return aws.Credentials{}, errors.New(httpclient.OneLine(err.Error()))
	case creds.Source == processcreds.ProviderName && creds.Expired():
		// As AWS's own tools: who gives out such keys has nothing better, and not
		// every server knows when they end.
		return creds, fmt.Errorf("they expired at %s by this machine's clock; renew them", creds.Expires.UTC().Format(time.RFC3339))
	}
	return creds, nil
}

// askMachine reports whether the machine's metadata service has credentials.
// It is asked once; whether it is there doesn't change.
func (a *account) askMachine(ctx context.Context) bool {
	if !a.lacking {
		return false
	}
	a.once.Do(func() {
		ctx := context.WithoutCancel(ctx) // the answer is everybody's
		go func() {
			defer close(a.asked)
			ctx, cancel := context.WithTimeout(ctx, machineTimeout)
			defer cancel()
			_, err := a.machine.Retrieve(ctx)
			a.found = err == nil
		}()
	})
	select {
	case <-a.asked:
		return a.found
	case <-ctx.Done():
		return false
	}
}

// source says where credentials come from, for people.
func (a *account) source(creds aws.Credentials) string {
	const file = "SharedConfigCredentials: "
	profile := a.profile
	if profile == "" {
		profile = a.defaultProfile()
	}
	switch {
	case creds.Source == config.CredentialsSourceName:
		return "the environment (AWS_ACCESS_KEY_ID)"
	case creds.Source == ec2rolecreds.ProviderName:
		return "the machine's metadata service"
	case strings.HasPrefix(creds.Source, file):
		return fmt.Sprintf("profile %q in %s", profile, strings.TrimPrefix(creds.Source, file))
	case creds.Source == "" && a.profile == "":
		return fmt.Sprintf("the environment and profile %q", profile)
	case creds.Source == "":
		return fmt.Sprintf("profile %q", profile)
	}
	return fmt.Sprintf("profile %q (%s)", profile, creds.Source)
}

// defaultProfile returns the profile that was used where none was named.
func (a *account) defaultProfile() string {
	for _, source := range a.config.ConfigSources {
		if shared, ok := source.(config.SharedConfig); ok && shared.Profile != "" {
			return shared.Profile
		}
	}
	return config.DefaultSharedConfigProfile
}

// accounts loads each profile once.
type accounts struct {
	mu     sync.Mutex
	loaded map[string]*loading
}

// loading is an account that is there when done is closed. Reading files is
// quick, but a name in them may be looked up in the DNS.
type loading struct {
	done    chan struct{}
	account *account
	err     error
}

// get returns the account of a profile. What went wrong is tried again the next
// time.
func (s *accounts) get(ctx context.Context, profile string) (*account, error) {
	s.mu.Lock()
	l := s.loaded[profile]
	if l == nil {
		l = &loading{done: make(chan struct{})}
		if s.loaded == nil {
			s.loaded = map[string]*loading{}
		}
		if len(s.loaded) < maxKnown {
			s.loaded[profile] = l
		}
		go s.load(context.WithoutCancel(ctx), profile, l)
	}
	s.mu.Unlock()
	select {
	case <-l.done:
		return l.account, l.err
	case <-ctx.Done():
		return nil, httpclient.ContextError(ctx)
	}
}

// load loads for get.
func (s *accounts) load(ctx context.Context, profile string, l *loading) {
	defer close(l.done)
	if l.account, l.err = loadAccount(ctx, profile); l.err == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loaded[profile] == l {
		delete(s.loaded, profile)
	}
}

// forget makes the next get read a's files anew: somebody may have renewed
// what has expired.
func (s *accounts) forget(a *account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.loaded[a.profile]
	if l == nil {
		return
	}
	select {
	case <-l.done:
		if l.account == a {
			delete(s.loaded, a.profile)
		}
	default: // somebody is reading them
	}
}
