# What the quickstart's programs share: options, files, JSON lines, and the form of a good answer.
package Sample;
use strict;
use warnings;
use Encode ();
use Exporter 'import';
use JSON::PP ();

our @EXPORT = qw($abbreviations options fail read_file write_file json_lines json_line split_sentences follows_form);

# Their full stop ends no sentence.
our $abbreviations = qr/Mr|Mrs|Ms|Dr|St|Rev|Esq|Capt|Col|Lieut|Gen|Messrs|Mme|Mlle|Prof|Hon/;

sub fail { print STDERR "quickstart: @_\n"; exit 2; }

# NAME => DEFAULT..., undef where it must be given; prints the head comment for --help.
sub options {
    my %option = @_;
    while (@ARGV) {
        my $name = shift @ARGV;
        if ($name eq '-h' || $name eq '--help') {
            open my $self, '<', $0 or fail("$0: $!");
            while (<$self>) { last if !/^#/; next if /^#!/; s/^# ?//; print; }
            exit 0;
        }
        fail("unknown option '$name' (try --help)") if $name !~ /^--(.+)$/ || !exists $option{$1};
        $option{$1} = shift @ARGV // fail("$name wants a value");
    }
    for (sort keys %option) { fail("--$_ is missing (try --help)") if !defined $option{$_}; }
    return %option;
}

# Text is UTF-8; bytes that are none are taken as they are.
sub read_file {
    my ($path) = @_;
    open my $file, '<:raw', $path or fail("cannot read $path: $!");
    local $/;
    my $bytes = <$file> // '';
    my $text = eval { Encode::decode('UTF-8', $bytes, Encode::FB_CROAK | Encode::LEAVE_SRC) };
    return $text // $bytes;
}

# Under a temporary name first: a file that is there is whole.
sub write_file {
    my $path = shift;
    open my $file, '>:utf8', "$path.new" or fail("cannot write $path.new: $!");
    print $file @_;
    close $file or fail("cannot write $path.new: $!");
    rename "$path.new", $path or fail("cannot write $path: $!");
}

my $json = JSON::PP->new->canonical;

sub json_line { return $json->encode($_[0]) . "\n"; }

sub json_lines {
    my ($path) = @_;
    my $number = 0;
    return map {
        $number++;
        eval { $json->decode($_) } // fail("$path line $number: not JSON")
    } split /\n/, read_file($path);
}

# A sentence ends in . ! or ? (perhaps a quotation mark) before a space and a capital letter or a quotation mark.
sub split_sentences {
    my ($paragraph) = @_;
    my @sentences;
    my $begin = 0;
    while ($paragraph =~ /[.!?]["')\]]*(?= +["'(]?\p{Lu}|$)/g) {
        my $end = pos $paragraph;
        my $sentence = substr $paragraph, $begin, $end - $begin;
        next if $sentence =~ /\b(?:$abbreviations|\p{Lu})\.$/;
        push @sentences, $sentence =~ s/^ +//r;
        $begin = $end;
    }
    return @sentences;
}

# The form of a good answer: it ends the sentence that the prompt began, and then ends itself. No line break, no quotation,
# no second sentence; where the prompt could be a whole sentence, the full stop alone will do.
sub follows_form {
    my ($answer, $finish) = @_;
    return 0 if $finish ne 'eos' || $answer =~ /[\n"]/ || $answer !~ /^(?:[ ,;:'\p{L}].*\p{L}.*)?[.!?]$/;
    my $inside = $answer =~ s/\b(?:$abbreviations)\.//gr;
    return $inside =~ /[.!?]./ ? 0 : 1;
}

1;
