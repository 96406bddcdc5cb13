package runwright

import (
	"context"
	"iter"
	"strings"

	"github.com/google/uuid"

	runwrightv1 "github.com/runwright/runwright/clients/go/gen/runwright/v1"
)

type (
	// PackageSummary is a package in outline.
	PackageSummary = runwrightv1.PackageSummary
	// PackageFinding is one fault of a package.
	PackageFinding = runwrightv1.PackageFinding
	// TagMove is one move of a tag.
	TagMove = runwrightv1.TagMove
	// PutPackage is what [Client.PutPackage] gives.
	PutPackage = runwrightv1.PutPackageResponse
	// StoredPackage is what [Client.GetPackage] gives.
	StoredPackage = runwrightv1.GetPackageResponse
	// TaggedPackage is what [Client.TagPackage] gives.
	TaggedPackage = runwrightv1.TagPackageResponse
	// ValidatedPackage is what [Client.ValidatePackage] gives.
	ValidatedPackage = runwrightv1.ValidatePackageResponse
	// ResolvedPackage is what [Client.ResolvePackage] gives.
	ResolvedPackage = runwrightv1.ResolvePackageResponse
)

type packageChange struct {
	tag, requestID string
	sidecars       [][]byte
	expected       *string
}

// PackageOption is a setting of [Client.PutPackage] and [Client.TagPackage].
type PackageOption func(*packageChange)

// WithPackageTag moves a tag to the package that is put.
func WithPackageTag(tag string) PackageOption { return func(c *packageChange) { c.tag = tag } }

// WithExpectedPrevious moves the tag only from there: a fingerprint, or empty for nowhere.
func WithExpectedPrevious(fingerprint string) PackageOption {
	return func(c *packageChange) { c.expected = &fingerprint }
}

// WithRequestID is the id of the request: sent again it changes nothing. Without it every call makes one.
func WithRequestID(id string) PackageOption { return func(c *packageChange) { c.requestID = id } }

// WithSidecars are the schemas, in JSON, that the tools of the package name by digest.
func WithSidecars(schemas ...[]byte) PackageOption {
	return func(c *packageChange) { c.sidecars = append(c.sidecars, schemas...) }
}

func changeOf(options []PackageOption) *packageChange {
	change := &packageChange{}
	for _, option := range options {
		option(change)
	}
	if change.requestID == "" {
		change.requestID = uuid.NewString()
	}
	return change
}

// PutPackage puts a package, the text of its file, and returns once it is on disk.
func (c *Client) PutPackage(ctx context.Context, document string, options ...PackageOption) (*PutPackage, error) {
	change := changeOf(options)
	return unary(ctx, c, true, bind(c.packages.PutPackage), &runwrightv1.PutPackageRequest{
		Document: document, Tag: change.tag, ExpectedPreviousFingerprint: change.expected, RequestId: change.requestID,
		Sidecars: change.sidecars,
	})
}

// GetPackage gives a package, whole. It is named by its id, `@TAG` or fingerprint.
func (c *Client) GetPackage(ctx context.Context, name string) (*StoredPackage, error) {
	request := &runwrightv1.GetPackageRequest{Package: packageNamed(name)}
	return unary(ctx, c, true, bind(c.packages.GetPackage), request)
}

// ListPackages goes through the packages, or those with an id, the server's files first, page by page as it is
// read. It stops after an error.
func (c *Client) ListPackages(ctx context.Context, packageID string) iter.Seq2[*PackageSummary, error] {
	return func(yield func(*PackageSummary, error) bool) {
		request := &runwrightv1.ListPackagesRequest{PackageId: packageID}
		for {
			page, err := unary(ctx, c, true, bind(c.packages.ListPackages), request)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, one := range page.GetPackages() {
				if !yield(one, nil) {
					return
				}
			}
			if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
				return
			}
		}
	}
}

// TagPackage points a tag to a package that was put.
func (c *Client) TagPackage(
	ctx context.Context, tag, fingerprint string, options ...PackageOption,
) (*TaggedPackage, error) {
	change := changeOf(options)
	return unary(ctx, c, true, bind(c.packages.TagPackage), &runwrightv1.TagPackageRequest{
		Tag: tag, Fingerprint: fingerprint, ExpectedPreviousFingerprint: change.expected, RequestId: change.requestID,
	})
}

// TagHistory goes through where a tag points and has pointed, newest first. It stops after an error.
func (c *Client) TagHistory(ctx context.Context, tag string) iter.Seq2[*TagMove, error] {
	return func(yield func(*TagMove, error) bool) {
		request := &runwrightv1.ListTagHistoryRequest{Tag: tag}
		for {
			page, err := unary(ctx, c, true, bind(c.packages.ListTagHistory), request)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, move := range page.GetMoves() {
				if !yield(move, nil) {
					return
				}
			}
			if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
				return
			}
		}
	}
}

// ValidatePackage says everything that is wrong with a package, the text of its file. Nothing is kept.
//
// The sidecars are the schemas, in JSON, that its tools name by digest.
func (c *Client) ValidatePackage(ctx context.Context, document string, sidecars ...[]byte) (*ValidatedPackage, error) {
	request := &runwrightv1.ValidatePackageRequest{Document: document, Sidecars: sidecars}
	return unary(ctx, c, true, bind(c.packages.ValidatePackage), request)
}

// ResolvePackage says what a run would be: limits, tools as the model sees them, what is missing in the server.
// Without a name it is the server's default package; budget may be nil.
func (c *Client) ResolvePackage(ctx context.Context, name string, budget *Budget) (*ResolvedPackage, error) {
	request := &runwrightv1.ResolvePackageRequest{Budget: budget}
	if name != "" {
		request.Package = packageNamed(name)
	}
	return unary(ctx, c, true, bind(c.packages.ResolvePackage), request)
}

// packageNamed reads an id, `@TAG` or fingerprint.
func packageNamed(name string) *runwrightv1.PackageSelector {
	selector := &runwrightv1.PackageSelector{}
	switch tag, isTag := strings.CutPrefix(name, "@"); {
	case isTag:
		selector.Selector = &runwrightv1.PackageSelector_Tag{Tag: tag}
	case strings.HasPrefix(name, "sha256:"):
		selector.Selector = &runwrightv1.PackageSelector_Fingerprint{Fingerprint: name}
	default:
		selector.Selector = &runwrightv1.PackageSelector_PackageId{PackageId: name}
	}
	return selector
}
